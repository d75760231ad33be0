//! A proxy before the server that cuts a connection around a COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};

/// What happens to the next COMMIT that a client sends.
pub(super) enum Cut {
    /// The server never gets it.
    Before,
    /// The server gets it; the client never gets the answer.
    After,
    /// The client's connection ends; the server gets the COMMIT when told to.
    Held(oneshot::Receiver<()>),
    /// Everything stays silent; no connection ends.
    Silent,
}

/// Listens at a port of its own.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) port: u16,
    next: Arc<Mutex<Option<Cut>>>,
    done: Arc<AtomicBool>,
}

impl Proxy {
    pub(super) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), next: Arc::default(), done: Arc::default() };
        let own = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(own.clone().carry(client, server));
            }
        });
        proxy
    }

    /// Cuts the next COMMIT.
    pub(super) async fn cut(&self, cut: Cut) {
        self.done.store(false, Ordering::Relaxed);
        *self.next.lock().await = Some(cut);
    }

    /// Whether the COMMIT came.
    pub(super) fn has_cut(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    async fn carry(self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let sent = &buffer[..read];
            // A simple query: its tag, its length and the text with a zero at the end.
            let commit = sent.windows(12).any(|window| window == b"Q\0\0\0\x0bCOMMIT\0");
            let cut = if commit { self.next.lock().await.take() } else { None };
            match cut {
                None => to_server.write_all(sent).await.unwrap(),
                Some(cut) => {
                    self.done.store(true, Ordering::Relaxed);
                    answers.abort();
                    // Done when the answers are not carried any more.
                    let _ = answers.await;
                    match cut {
                        Cut::Before => {}
                        Cut::After => {
                            to_server.write_all(sent).await.unwrap();
                            to_server.flush().await.unwrap();
                        }
                        Cut::Held(go) => {
                            let sent = sent.to_vec();
                            tokio::spawn(async move {
                                let _ = go.await;
                                // The server may have ended the session.
                                let _ = to_server.write_all(&sent).await;
                                std::future::pending::<()>().await;
                            });
                        }
                        Cut::Silent => std::future::pending().await,
                    }
                    return;
                }
            }
        }
    }
}
