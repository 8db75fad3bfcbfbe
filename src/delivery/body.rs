//! A request's body that tells when it was written.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::clock;
use crate::gate::WrittenAt;
use crate::lease::Fence;

/// Bytes in one piece. The client asks for them when it writes the request, and writes them at once.
#[derive(Debug)]
pub(super) struct Marked {
    bytes: Option<Bytes>,
    written: WrittenAt,
    fence: Option<Fence>,
}

/// Another worker may drive the destination by now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the lease ran out before the request was written")]
pub(super) struct FenceClosed;

impl Marked {
    /// `written` is marked when the client takes the bytes, or now where there are none.
    pub fn new(bytes: Bytes, written: WrittenAt, fence: Option<Fence>) -> Self {
        if bytes.is_empty() {
            written.mark(clock::now());
        }
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), written, fence }
    }
}

impl Body for Marked {
    type Data = Bytes;
    type Error = FenceClosed;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FenceClosed>>> {
        if self.bytes.is_some() && self.fence.as_ref().is_some_and(|fence| !fence.is_open(clock::now())) {
            return Poll::Ready(Some(Err(FenceClosed)));
        }
        let bytes = self.bytes.take();
        if bytes.is_some() {
            self.written.mark(clock::now());
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}
