//! A server's listener. It keeps a few file descriptors spare, so that it can take connections when the process has none left.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::delivery::machine;

/// Descriptors kept spare; one is closed to take a connection.
const SPARE: usize = 4;
/// The pauses after a failed accept: if no spare descriptor is left, and for any other reason.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A listener with spare descriptors.
pub(super) struct SpareListener {
    listener: Arc<TcpListener>,
    /// Whose, for the log.
    server: &'static str,
    spare: Vec<File>,
}

impl SpareListener {
    pub(super) fn new(listener: Arc<TcpListener>, server: &'static str) -> Self {
        Self { listener, server, spare: Vec::new() }
    }

    /// Takes spare descriptors again, as far as there are any.
    fn refill(&mut self) {
        while self.spare.len() < SPARE
            && let Ok(file) = File::open("/dev/null")
        {
            self.spare.push(file);
        }
    }

    /// After a failed accept.
    async fn recover(&mut self, error: io::Error) {
        if machine::lack(&error).is_some() {
            if self.spare.pop().is_none() {
                clock::sleep(PAUSES.0).await;
            }
        } else if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            tracing::error!(%error, server = self.server, "a connection could not be taken");
            clock::sleep(PAUSES.1).await;
        }
    }
}

impl Listener for SpareListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        // Not between two tries: they need the descriptor.
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
