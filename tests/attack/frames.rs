//! HTTP/2 as bytes, so that what no client would send can be sent.

use crate::gateway::ROGUE_TOKEN;

/// The first words, and settings that ask for nothing.
pub(crate) fn opening(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat()
}

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RESET: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const ACK: u8 = 0x1;
/// The setting of a stream's window.
pub(crate) const INITIAL_WINDOW: u16 = 0x4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a gRPC call of the rogue client, packed.
pub(crate) fn head(path: &str) -> Vec<u8> {
    let token = format!("Bearer {ROGUE_TOKEN}");
    // :method POST and :scheme http stand in HPACK's own table; the others are written out.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", "gateway"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &token),
    ] {
        block.extend(literal(0x00, name, value.as_bytes()));
    }
    block
}

/// A header written out. `form`: 0x00 to be forgotten, 0x40 to be kept in the table.
pub(crate) fn literal(form: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [vec![form], length(name.len()), name.as_bytes().to_vec(), length(value.len()), value.to_vec()].concat()
}

/// A length as HPACK writes it (RFC 7541, section 5.1, seven bits first).
fn length(of: usize) -> Vec<u8> {
    if of < 127 {
        return vec![of as u8];
    }
    let (mut bytes, mut left) = (vec![127], of - 127);
    while left >= 128 {
        bytes.push((left % 128) as u8 | 0x80);
        left /= 128;
    }
    bytes.push(left as u8);
    bytes
}

/// A whole call: headers and one message.
pub(crate) fn call(path: &str, stream: u32, message: &[u8]) -> Vec<u8> {
    let mut data = vec![0];
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(message);
    [frame(HEADERS, END_HEADERS, stream, &head(path)), frame(DATA, END_STREAM, stream, &data)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_hpacks() {
        // The samples of RFC 7541, appendix C.1, for seven bits.
        assert_eq!((length(10), length(127), length(1337)), (vec![10], vec![127, 0], vec![127, 186, 9]));
    }

    #[tokio::test]
    async fn a_call_is_one_that_a_server_understands() {
        let (mut peer, io) = tokio::io::duplex(4096);
        let said = [opening(&[(INITIAL_WINDOW, 100)]), call("/a/b", 1, b"x")].concat();
        tokio::io::AsyncWriteExt::write_all(&mut peer, &said).await.unwrap();
        let mut server = h2::server::handshake(io).await.unwrap();
        let (request, _answer) = server.accept().await.unwrap().unwrap();
        assert_eq!((request.uri().path(), request.method().as_str()), ("/a/b", "POST"));
        assert_eq!(request.headers()["te"], "trailers");
    }
}
