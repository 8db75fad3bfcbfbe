//! A question before something is done that cannot be taken back.

use std::io::{IsTerminal as _, Write as _};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Error;

/// Asks, and goes on only with a yes. Ctrl-C ends the question.
///
/// # Errors
/// [`Error::Refused`] with `unasked` where no person is at the terminal, and after a no; [`Error::Failed`] when stopped.
pub(super) async fn confirm(question: &str, unasked: &str, stop: &CancellationToken) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::Refused(unasked.to_owned()));
    }
    write!(std::io::stderr(), "{question} [y/N] ")?;
    let (tell, told) = oneshot::channel();
    // A thread of its own: the runtime would wait for one of its own at the end, though nobody answers any more.
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        drop(tell.send(read.map(|_| answer)));
    });
    let answer = unless_stopped(stop, async { Ok(told.await.unwrap_or_else(|_| Ok(String::new()))?) }).await?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Refused("nothing was changed".to_owned())),
    }
}

/// What `work` gives, unless the user stops it first.
pub(super) async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Err(Error::Failed("stopped; nothing was changed".to_owned())),
    }
}
