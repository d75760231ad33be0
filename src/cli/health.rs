//! `order-gateway health`: asks a running gateway for its health, for container probes and scripts.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connect::{ClientTls, TlsArgs, connect};
use super::{Failure, GatewayAddress, print};

/// Shorter than the timeout of common probes, to leave time to print the reason.
const DEADLINE: Duration = Duration::from_secs(3);

const EXAMPLE: &str = "\
Examples:
  order-gateway health --addr 127.0.0.1:50051
  order-gateway health --addr gateway:50051 --service ordergateway.v1.FulfillmentService
  order-gateway health --addr gateway:50051 --tls-ca ca.crt
  order-gateway health --addr unix:/run/order-gateway.sock
  order-gateway health --addr 127.0.0.1:50051 --tls-ca ca.crt --tls-server-name gateway --tls-cert me.crt --tls-key me.key

Needs no token. Where callers need a certificate (mTLS), so does this; http://HOST:PORT/readyz of [http] needs none.
Exit codes: 0 it serves, 1 it does not (or nothing answers within 3 s), 2 bad usage, or a file that cannot be used.";

/// Ask a running gateway for its health
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct HealthArgs {
    /// Address of the gateway's gRPC listener: HOST:PORT, or unix:PATH
    #[arg(long, value_name = "ADDRESS", value_parser = GatewayAddress::parse)]
    addr: GatewayAddress,
    /// Full name of a service; by default the gateway as a whole
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    #[command(flatten)]
    tls: TlsArgs,
}

pub(super) async fn run(args: HealthArgs, stop: CancellationToken) -> Result<(), Failure> {
    let HealthArgs { addr, service, tls } = args;
    let tls = tls.read(&addr).map_err(|line| Failure::Usage(vec![line]))?;
    let asked = tokio::select! {
        asked = timeout(DEADLINE, ask(&addr, tls, service)) => asked,
        () = stop.cancelled() => return Err(Failure::Failed(format!("{addr}: interrupted"))),
    };
    let seconds = DEADLINE.as_secs();
    match asked.unwrap_or_else(|_| Err(format!("no answer within {seconds} s"))) {
        Ok(ServingStatus::Serving) => print("SERVING\n"),
        Ok(other) => Err(Failure::Failed(format!("{addr}: {}", other.as_str_name()))),
        Err(reason) => Err(Failure::Failed(format!("{addr}: {reason}"))),
    }
}

async fn ask(addr: &GatewayAddress, tls: Option<ClientTls>, service: String) -> Result<ServingStatus, String> {
    let plaintext = tls.is_none();
    let connection = connect(addr, tls).await.map_err(|error| format!("cannot connect: {error}"))?;
    let answer = HealthClient::new(connection.channel.clone()).check(HealthCheckRequest { service }).await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().status()),
        // Not a status of the gateway: the connection broke.
        Err(status) if std::error::Error::source(&status).is_some() => {
            let hint = if plaintext { " (does it speak TLS? then give --tls-ca)" } else { "" };
            Err(format!("the connection broke: {}{hint}", connection.why(&status)))
        }
        Err(status) => Err(format!("{:?}: {}", status.code(), status.message().escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tonic_health::ServingStatus as Health;
    use tonic_health::server::health_reporter;

    use super::*;

    async fn health_of(addr: &str, service: &str) -> Result<(), Failure> {
        let addr = GatewayAddress::parse(addr).unwrap();
        let args = HealthArgs { addr, service: service.into(), tls: TlsArgs::default() };
        run(args, CancellationToken::new()).await
    }

    #[tokio::test]
    async fn tells_who_serves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (reporter, service) = health_reporter();
        reporter.set_service_status("down", Health::NotServing).await;
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let server =
            tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));

        assert_eq!(health_of(&addr, "").await, Ok(()));
        assert_eq!(health_of(&addr, "down").await, Err(Failure::Failed(format!("{addr}: NOT_SERVING"))));
        let Err(Failure::Failed(unknown)) = health_of(&addr, "nobody").await else { panic!("serves") };
        assert!(unknown.starts_with(&format!("{addr}: NotFound: ")), "{unknown}");
        server.abort();
    }

    #[tokio::test]
    async fn nobody_there_is_said_in_a_line() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        drop(listener);
        let refused = format!("{addr}: cannot connect: Connection refused (os error 111)");
        assert_eq!(health_of(&addr, "").await, Err(Failure::Failed(refused)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        assert_eq!(health_of(&addr, "").await, Err(Failure::Failed(format!("{addr}: no answer within 3 s"))));
    }
}
