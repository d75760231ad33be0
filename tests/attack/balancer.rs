//! What stands before replicas: it gives each connection to the next of those that are ready, and leaves the rest to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::gateway::{Result, text};

/// Between two probes. A kubelet takes its time, too; connections to who has gone meanwhile are tried at the next one.
const PROBE: Duration = Duration::from_millis(50);

/// A replica.
#[derive(Clone)]
pub(crate) struct Backend {
    /// Where connections go.
    pub address: SocketAddr,
    /// Whether it said so when it was last asked.
    pub ready: Arc<AtomicBool>,
}

/// Asks a replica every so often whether it is ready, without end.
pub(crate) async fn probe(client: reqwest::Client, http: SocketAddr, ready: Arc<AtomicBool>) {
    loop {
        let answer = client.get(format!("http://{http}/readyz")).timeout(Duration::from_secs(1)).send().await;
        ready.store(answer.is_ok_and(|answer| answer.status().as_u16() == 200), Ordering::Release);
        sleep(PROBE).await;
    }
}

/// Starts a balancer in the background. Tells where it listens.
pub(crate) async fn start(backends: Vec<Backend>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    tokio::spawn(async move {
        for turn in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            let mut backends = backends.clone();
            let count = backends.len();
            backends.rotate_left(turn % count);
            tokio::spawn(async move {
                for backend in backends.iter().filter(|backend| backend.ready.load(Ordering::Acquire)) {
                    if let Ok(mut other) = TcpStream::connect(backend.address).await {
                        // Its end is the business of both sides.
                        let _ = copy_bidirectional(&mut stream, &mut other).await;
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Says one byte to whoever comes.
    async fn backend(says: u8, ready: bool) -> Backend {
        use tokio::io::AsyncWriteExt as _;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[says]).await.unwrap();
            }
        });
        Backend { address, ready: Arc::new(AtomicBool::new(ready)) }
    }

    #[tokio::test]
    async fn connections_go_to_those_that_are_ready_in_turn() {
        let backends = vec![backend(1, true).await, backend(2, true).await, backend(3, false).await];
        let address = start(backends.clone()).await.unwrap();
        let ask = async || TcpStream::connect(address).await.unwrap().read_u8().await.unwrap();
        let answers = [ask().await, ask().await, ask().await, ask().await];
        assert!(answers.contains(&1) && answers.contains(&2) && !answers.contains(&3), "{answers:?}");
        backends[0].ready.store(false, Ordering::Release);
        assert_eq!([ask().await, ask().await], [2, 2]);
    }
}
