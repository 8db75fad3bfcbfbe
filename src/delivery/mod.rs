//! One HTTP request to a vendor: a request in; its answer or the trouble out.

use std::future::Future;
use std::pin::Pin;

use ::http::HeaderValue;
use bytes::Bytes;

use crate::gate::WrittenAt;
use crate::vendors::Reply;

mod body;
pub mod cause;
mod connect;
pub mod http;
pub mod machine;
mod tls;
pub mod token;
pub mod token_file;

/// What this worker calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION")));

/// Sends requests. `delivery/http.rs` does so over the network; tests script it.
pub trait Transport: Send + Sync {
    /// Sends one request, once: no redirects followed, nothing retried. Marks `written` when all of it was handed to the network.
    fn send<'a>(
        &'a self,
        request: &'a ::http::Request<Bytes>,
        written: &'a WrittenAt,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Trouble>> + Send + 'a>>;

    /// Whether this machine has room for one more request now.
    fn has_room(&self) -> bool {
        true
    }
}

/// How much of an answer's body is read, in bytes: put it among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Keep(pub usize);

impl Keep {
    /// For a token, and by default.
    pub const TOKEN: Self = Self(64 * 1024);
    /// For a job's state.
    pub const JOB: Self = Self(256 * 1024);
    /// For a lookup, which may be a long list.
    pub const LOOKUP: Self = Self(8 * 1024 * 1024);
}

/// Why there is no answer: a sentence without the address's query and without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The vendor did not get the request.
    #[error("cannot connect to {host}: {cause}")]
    Connect {
        /// Host and port.
        host: String,
        /// The network's words.
        cause: String,
    },
    /// No answer in time; the vendor may have taken it.
    #[error("no answer from {host} within {timeout:?}")]
    Timeout {
        /// Host and port.
        host: String,
        /// The destination's `timeout`.
        timeout: std::time::Duration,
    },
    /// This machine could not send it: that says nothing of the vendor.
    #[error("this machine cannot send to {host}: {cause}")]
    Machine {
        /// Host and port.
        host: String,
        /// What it lacks.
        cause: String,
    },
    /// The connection broke before the answer was complete; the vendor may have taken it.
    #[error("the connection to {host} broke: {cause}")]
    Broken {
        /// Host and port.
        host: String,
        /// The network's words.
        cause: String,
    },
}
