//! What the worker's own HTTP servers share: a listener, a part that serves until the stop, and comparisons for whoever comes in.

mod listener;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::listener::SpareListener;
use crate::clock;
use crate::supervisor::Part;

/// What serves until `ending`, and then lets open connections finish for `close_within`.
pub fn server(
    listener: TcpListener,
    (name, router): (&'static str, Router),
    close_within: Duration,
    ending: CancellationToken,
) -> impl Part {
    let listener = Arc::new(listener);
    move || serve(SpareListener::new(Arc::clone(&listener), name), router.clone(), close_within, ending.clone())
}

async fn serve(
    listener: SpareListener,
    router: Router,
    close_within: Duration,
    ending: CancellationToken,
) -> Result<(), String> {
    let stopping = ending.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stopping.cancelled_owned());
    let bounded = async {
        ending.cancelled().await;
        clock::sleep(close_within).await;
    };
    tokio::select! {
        served = serving => served.map_err(|error| format!("the server ended: {error}")),
        () = bounded => {
            tracing::debug!("connections were still open at the stop");
            Ok(())
        }
    }
}

/// Takes the same time wherever the first difference is.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// An IP address or `localhost`, with or without a port.
#[must_use]
pub fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok()
        || in_brackets.is_some_and(|name| name.parse::<std::net::Ipv6Addr>().is_ok())
}
