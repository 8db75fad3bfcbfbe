//! Where admin connections come in, also when this process has no file descriptors left: a few are kept for them.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::delivery::machine;

/// Descriptors that are kept open, so that one can be closed for a connection.
const SPARE: usize = 4;
/// The pauses after a connection that could not be taken: without a spare descriptor, and for any other reason.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A listener that has descriptors to spare.
pub(super) struct SpareListener {
    listener: Arc<TcpListener>,
    spare: Vec<File>,
}

impl SpareListener {
    pub(super) fn new(listener: Arc<TcpListener>) -> Self {
        Self { listener, spare: Vec::new() }
    }

    /// What was given away is had again as soon as there are descriptors.
    fn refill(&mut self) {
        while self.spare.len() < SPARE
            && let Ok(file) = File::open("/dev/null")
        {
            self.spare.push(file);
        }
    }

    /// After a connection that could not be taken.
    async fn recover(&mut self, error: io::Error) {
        if machine::lack(&error).is_some() {
            if self.spare.pop().is_none() {
                clock::sleep(PAUSES.0).await;
            }
        } else if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            tracing::error!(%error, "an admin connection could not be taken");
            clock::sleep(PAUSES.1).await;
        }
    }
}

impl Listener for SpareListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        // Between two tries nothing is taken back.
        self.refill();
        loop {
            match self.listener.accept().await {
                Ok(taken) => return taken,
                Err(error) => self.recover(error).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
