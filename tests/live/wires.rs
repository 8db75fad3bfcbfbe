//! The wires between the nodes of a cluster, which can be cut without either end being told: a port mapper for Erlang's nodes that sends each
//! to a proxy in place of the other. What is on its way over a wire that is cut waits; clients of the nodes notice nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What nodes ask and are told, see "EPMD Protocol" in Erlang's ERTS manual.
const REGISTER: u8 = 120;
const REGISTERED: u8 = 118;
const WHERE_IS: u8 = 122;
const IS_AT: u8 = 119;
const NAMES: u8 = 110;
/// What a node says of itself: a usual one, TCP over IPv4, versions 6 to 5 of the handshake.
const USUAL: [u8; 6] = [77, 0, 0, 6, 0, 5];

pub struct Wires {
    /// Where nodes find each other.
    pub port: u16,
    cut: watch::Sender<Option<String>>,
    _serving: AbortOnDropHandle<()>,
}

/// What the port mapper knows.
#[derive(Clone)]
struct Mapper {
    /// The proxy of each node.
    nodes: Arc<Mutex<BTreeMap<String, u16>>>,
    cut: watch::Receiver<Option<String>>,
}

impl Wires {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_cut) = watch::channel(None);
        let mapper = Mapper { nodes: Arc::default(), cut: is_cut };
        let serving = tokio::spawn(async move {
            while let Ok((asker, _)) = listener.accept().await {
                let mapper = mapper.clone();
                // Whoever hangs up early has no answer.
                tokio::spawn(async move { drop(mapper.answer(asker).await) });
            }
        });
        Self { port, cut, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Cuts the wires from a node to all others, and mends those that were cut before.
    pub fn cut_off(&self, node: Option<&str>) {
        self.cut.send_replace(node.map(str::to_owned));
    }
}

impl Mapper {
    async fn answer(self, mut asker: TcpStream) -> std::io::Result<()> {
        let length = asker.read_u16().await?;
        let mut asked = vec![0; usize::from(length)];
        asker.read_exact(&mut asked).await?;
        match asked[0] {
            REGISTER => self.register(asker, &asked).await,
            WHERE_IS => {
                let name = String::from_utf8_lossy(&asked[1..]).into_owned();
                let port = self.nodes.lock().unwrap().get(&name).copied();
                let answer = match port {
                    None => vec![IS_AT, 1],
                    Some(port) => [
                        &[IS_AT, 0][..],
                        &port.to_be_bytes(),
                        &USUAL,
                        &u16::try_from(name.len()).unwrap().to_be_bytes(),
                        name.as_bytes(),
                        &[0, 0],
                    ]
                    .concat(),
                };
                asker.write_all(&answer).await
            }
            NAMES => {
                let names = self.nodes.lock().unwrap().clone();
                let lines: String = names.iter().map(|(name, port)| format!("name {name} at port {port}\n")).collect();
                let port = u32::from(asker.local_addr()?.port());
                asker.write_all(&[&port.to_be_bytes()[..], lines.as_bytes()].concat()).await
            }
            other => panic!("a node asked its port mapper for {other}"),
        }
    }

    /// A node is there for as long as it keeps this connection.
    async fn register(self, mut node: TcpStream, asked: &[u8]) -> std::io::Result<()> {
        let number = |at: usize| u16::from_be_bytes([asked[at], asked[at + 1]]);
        let (own_port, name) = (number(1), &asked[11..11 + usize::from(number(9))]);
        let name = String::from_utf8_lossy(name).into_owned();
        let proxy = TcpListener::bind("127.0.0.1:0").await?;
        self.nodes.lock().unwrap().insert(name.clone(), proxy.local_addr()?.port());
        let creation = fastrand::u32(4..).to_be_bytes();
        node.write_all(&[&[REGISTERED, 0][..], &creation].concat()).await?;
        let serving = async {
            while let Ok((near, _)) = proxy.accept().await {
                tokio::spawn(connect(near, own_port, name.clone(), self.cut.clone()));
            }
        };
        tokio::select! {
            () = serving => {}
            _ = node.read_u8() => {}
        }
        self.nodes.lock().unwrap().remove(&name);
        Ok(())
    }
}

/// One wire. Who is at its near end is in the first words of the handshake.
async fn connect(mut near: TcpStream, port: u16, to: String, cut: watch::Receiver<Option<String>>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let Ok(length) = near.read_u16().await else { return };
    let mut hello = vec![0; usize::from(length)];
    if near.read_exact(&mut hello).await.is_err() {
        return;
    }
    let name = String::from_utf8_lossy(&hello[if hello[0] == b'N' { 15 } else { 7 }..]).into_owned();
    let ends = [name.split('@').next().unwrap_or_default().to_owned(), to];
    let mut cut = Cut { ends, cut };
    cut.mended().await;
    if far.write_all(&[&length.to_be_bytes()[..], &hello].concat()).await.is_err() {
        return;
    }
    let (near, far) = (near.into_split(), far.into_split());
    tokio::join!(carry(near.0, far.1, cut.clone()), carry(far.0, near.1, cut));
}

#[derive(Clone)]
struct Cut {
    ends: [String; 2],
    cut: watch::Receiver<Option<String>>,
}

impl Cut {
    /// Returns when the wire is whole. `rabbitmqctl` is never cut off.
    async fn mended(&mut self) {
        let ends = &self.ends;
        let is_whole = |cut: &Option<String>| {
            !cut.as_ref().is_some_and(|cut| ends.contains(cut) && ends.iter().all(|end| end.starts_with("sluice")))
        };
        drop(self.cut.wait_for(is_whole).await);
    }
}

/// Neither bytes nor the end of the connection get through a wire that is cut.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: Cut) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await;
        cut.mended().await;
        let Ok(read @ 1..) = read else { return };
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
