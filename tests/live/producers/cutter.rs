//! A way to the broker that counts connections, and cuts one as soon as a certain word is on it, before the broker has seen that word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// Listens for as long as it lives.
pub struct Cutter {
    /// The broker's URL by way of this.
    pub url: String,
    cut: Arc<AtomicBool>,
    count: Arc<Count>,
    task: tokio::task::JoinHandle<()>,
}

/// How many connections there were.
#[derive(Default)]
struct Count {
    all: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Count {
    fn opened(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
    }

    fn ended(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cutter {
    pub async fn start(broker: &str, word: &'static str) -> Self {
        let mut url: url::Url = broker.parse().unwrap();
        let target = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5672));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let count = Arc::new(Count::default());
        let (done, counted) = (Arc::clone(&cut), Arc::clone(&count));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.opened();
                let (done, counted) = (Arc::clone(&done), Arc::clone(&counted));
                let server = TcpStream::connect(target.clone()).await.unwrap();
                tokio::spawn(async move {
                    pass(client, server, word, done).await;
                    counted.ended();
                });
            }
        });
        Self { url: url.to_string(), cut, count, task }
    }

    pub fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// How many connections there were so far, and how many at once at most.
    pub fn connections(&self) -> (usize, usize) {
        (self.count.all.load(Ordering::SeqCst), self.count.most.load(Ordering::SeqCst))
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
