//! A way to the broker that cuts one connection as soon as a certain word is on it, before the broker has seen that word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// Listens for as long as it lives.
pub struct Cutter {
    /// The broker's URL by way of this.
    pub url: String,
    cut: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Cutter {
    pub async fn start(broker: &str, word: &'static str) -> Self {
        let mut url: url::Url = broker.parse().unwrap();
        let target = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5672));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target.clone()).await.unwrap();
                tokio::spawn(pass(client, server, word, Arc::clone(&done)));
            }
        });
        Self { url: url.to_string(), cut, task }
    }

    pub fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends both connections at the word, or when either has ended.
async fn pass(client: TcpStream, server: TcpStream, word: &str, cut: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let (mut part, mut seen) = ([0; 4096], Vec::new());
        while let Ok(read @ 1..) = from_client.read(&mut part).await {
            seen.extend_from_slice(&part[..read]);
            let found = seen.windows(word.len()).any(|window| window == word.as_bytes());
            if found && !cut.swap(true, Ordering::SeqCst) {
                return;
            }
            if to_server.write_all(&part[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
