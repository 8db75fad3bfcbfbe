//! One HTTP request to a vendor: a request in; its answer or the trouble out.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::gate::Written;
use crate::vendors::Reply;

mod body;
pub mod http;
mod tls;
pub mod token;
pub mod token_file;

/// Sends requests. `delivery/http.rs` does so over the network; tests script it.
pub trait Transport: Send + Sync {
    /// Sends one request, once: no redirects followed, nothing retried. Marks `written` when all of it was handed to the network.
    fn send<'a>(
        &'a self,
        request: &'a ::http::Request<Bytes>,
        written: &'a Written,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Trouble>> + Send + 'a>>;
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
    /// The connection broke before the answer was complete; the vendor may have taken it.
    #[error("the connection to {host} broke: {cause}")]
    Broken {
        /// Host and port.
        host: String,
        /// The network's words.
        cause: String,
    },
}
