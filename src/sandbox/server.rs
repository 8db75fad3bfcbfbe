//! The sockets: connections come in, requests are read whole and handed to the world, and its answer or cut
//! goes back. Must never hold up one connection for another.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{self, Answer};
use super::world::{Cut, World};
use crate::clock;

/// The longest body that is read: APIs document less, but for a CSV of 400 MB, which nobody sends here.
const BODY_BYTES: usize = 64 << 20;
/// How long a request under way may take once the sandbox stops.
const GRACE: Duration = Duration::from_millis(500);
/// The pause after the system refuses a connection, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`; `tasks` ends once the last connection has.
pub(super) async fn serve(listener: TcpListener, world: Arc<World>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(converse(stream, Arc::clone(&world), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox could not accept a connection");
                clock::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, world: Arc<World>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a sandbox connection ended before it began");
        return;
    }
    let service = service_fn(|request| answer(&world, request));
    let mut connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stop.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::time::timeout(GRACE, &mut connection).await.ok()
        }
    };
    let Some(Err(error)) = ended else { return };
    if std::error::Error::source(&error).is_some_and(|source| source.is::<Cut>()) {
        reset(&connection.into_parts().io.into_inner());
    } else {
        tracing::debug!(%error, "a sandbox connection failed");
    }
}

/// Makes the stream's end a reset (RST) instead of an orderly close.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::warn!(%error, "a sandbox connection could not be reset and is closed instead");
    }
}

async fn answer(world: &World, request: Request<Incoming>) -> Result<Answer, Cut> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES).collect().await {
        Ok(body) => world.answer(Request::from_parts(parts, body.to_bytes())).await,
        Err(error) if error.is::<LengthLimitError>() => {
            Ok(api::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 64 MiB"))
        }
        Err(error) => Ok(api::error(StatusCode::BAD_REQUEST, &format!("the body could not be read: {error}"))),
    }
}
