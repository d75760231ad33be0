//! Headers, tokens, limits.

use super::*;

async fn create_with(seller: &Seller, change: impl FnOnce(&mut http::HeaderMap)) -> Got {
    let body = create_body("SO1", "SKU-1", 1).to_string();
    let mut request = seller.post_request(CREATE).body(Bytes::from(body)).unwrap();
    change(request.headers_mut());
    send(&seller.emulator, request).await.unwrap()
}

fn set(headers: &mut http::HeaderMap, name: &'static str, value: &str) {
    headers.insert(name, value.parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn missing_headers_are_named() {
    let seller = Seller::new(options()).await;
    for (name, spelled) in [("wm_qos.correlation_id", "WM_QOS.CORRELATION_ID"), ("wm_svc.name", "WM_SVC.NAME")] {
        let got = create_with(&seller, |headers| drop(headers.remove(name))).await;
        assert_eq!((got.status, got.code()), (400, "MISSING_REQUEST_HEADER.GMP_GATEWAY_API"));
        assert_eq!(got.body["error"][0]["field"], spelled);
        let got = create_with(&seller, |headers| set(headers, name, " ")).await;
        assert_eq!(got.code(), "INVALID_REQUEST_HEADER.GMP_GATEWAY_API");
    }
    assert_eq!(create_with(&seller, |h| drop(h.remove("content-type"))).await.status, 520);
    assert_eq!(create_with(&seller, |h| set(h, "content-type", "text/plain")).await.status, 415);
    assert_eq!(create_with(&seller, |h| set(h, "accept", "image/png")).await.status, 406);
    assert_eq!(seller.control("GET", "orders", "").await.body["total"], 2);
}

#[tokio::test(start_paused = true)]
async fn without_accept_the_answer_is_xml() {
    let seller = Seller::new(options()).await;
    let got = create_with(&seller, |headers| drop(headers.remove("accept"))).await;
    assert_eq!((got.status, got.headers["content-type"].to_str().unwrap()), (202, "application/xml"));
    assert!(roxmltree::Document::parse(&got.text).is_ok());
    let got = create_with(&seller, |headers| set(headers, "accept", "*/*")).await;
    assert_eq!(got.body["status"], "ACCEPTED");
    let request = token_request("aWQ6c2VjcmV0").body("grant_type=client_credentials".into()).unwrap();
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("accept");
    let got = send(&seller.emulator, Request::from_parts(parts, body)).await.unwrap();
    assert!(got.text.contains("<accessToken>"), "{}", got.text);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_sent_in_one_of_two_ways() {
    let seller = Seller::new(options()).await;
    let bearer = format!("Bearer {}", seller.token);
    let alone = |headers: &mut http::HeaderMap| {
        headers.remove("wm_sec.access_token");
        set(headers, "authorization", &bearer);
    };
    assert_eq!(create_with(&seller, |h| set(h, "authorization", &bearer)).await.status, 202);
    let got = create_with(&seller, alone).await;
    assert_eq!((got.status, got.code()), (401, "UNAUTHORIZED.GMP_GATEWAY_API"));
    // As seed 001 prints it: no WM_ headers at all.
    let got = create_with(&seller, |headers| {
        alone(headers);
        headers.remove("wm_qos.correlation_id");
        headers.remove("wm_svc.name");
        set(headers, "martid", "202");
        set(headers, "buid", "0");
    })
    .await;
    assert_eq!(got.status, 202, "{}", got.text);
    let got = create_with(&seller, |headers| {
        alone(headers);
        set(headers, "wm_sandbox", "v2");
    })
    .await;
    assert_eq!(got.status, 202);
    assert_eq!(create_with(&seller, |h| set(h, "wm_sec.access_token", "made-up")).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_and_another_works_on() {
    let mut seller = Seller::new(options()).await;
    let first = seller.token.clone();
    tokio::time::advance(std::time::Duration::from_secs(600)).await;
    seller.sign_in("aWQ6c2VjcmV0").await;
    let with = |token: &str| Seller { token: token.to_owned(), ..seller.clone() };
    assert_eq!(with(&first).get_status("orderNumber=sellername001ABC123").await.status, 200);
    tokio::time::advance(std::time::Duration::from_secs(300)).await;
    let old = with(&first).get_status("orderNumber=sellername001ABC123").await;
    assert_eq!((old.status, old.code()), (401, "UNAUTHORIZED.GMP_GATEWAY_API"));
    assert_eq!(seller.get_status("orderNumber=sellername001ABC123").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_bucket_is_told_on_every_answer_and_refills() {
    let seller = Seller::new(options()).await;
    let left = |got: &Got| got.headers["x-current-token-count"].to_str().unwrap().to_owned();
    let next = |got: &Got| got.headers["x-next-replenishment-time"].to_str().unwrap().parse::<i64>().unwrap();
    let start = "2026-11-21T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for expected in (0..20).rev() {
        let got = seller.get_status("orderNumber=NO").await;
        assert_eq!((got.status, left(&got)), (400, expected.to_string()));
    }
    let got = seller.get_status("orderNumber=NO").await;
    assert_eq!((got.status, got.code()), (429, "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API"));
    assert_eq!((left(&got), next(&got)), ("0".to_owned(), start + 3000));
    assert_eq!(left(&seller.post(CREATE, &json!({})).await), "599");
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    assert_eq!(seller.get_status("orderNumber=NO").await.status, 400);
    let stranger = Seller { token: "made-up".to_owned(), ..seller.clone() };
    assert_eq!(left(&stranger.get_status("orderNumber=NO").await), "20");
}

#[tokio::test(start_paused = true)]
async fn odd_paths_methods_and_bodies() {
    let seller = Seller::new(options()).await;
    let got = send(&seller.emulator, Request::get("/v3/nothing").body(Bytes::new()).unwrap()).await.unwrap();
    assert!(got.status == 404 && got.text.contains("URI_NOT_FOUND"));
    let got = send(&seller.emulator, Request::get(CREATE).body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!((got.status, got.headers["allow"].to_str().unwrap()), (405, "POST"));
    let post = |body: Bytes| send(&seller.emulator, seller.post_request(CREATE).body(body).unwrap());
    let got = post("{".into()).await.unwrap();
    assert_eq!((got.status, got.code()), (400, "MALFORMED_REQUEST_CONTENT.GMP_GATEWAY_API"));
    assert_eq!(post(vec![b' '; (1 << 20) + 1].into()).await.unwrap().status, 413);
    assert_eq!(post(vec![b'['; 100_000].into()).await.unwrap().status, 400);
}
