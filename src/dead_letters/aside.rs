//! What is found out of a letter on another thread, where an expression is hard on it: whoever looks at letters has it done, and shows the letter
//! once more.

use std::sync::{Arc, Mutex, PoisonError};

use crate::mapping::{self, Hard};
use crate::threads::Job;

/// What is found out of one letter after the other.
#[derive(Debug)]
pub(super) struct Aside<T>(Option<Arc<Mutex<Option<T>>>>);

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> Aside<T> {
    /// What `here` finds out; or, the second time, what the job did. Nothing where that panicked.
    ///
    /// # Errors
    /// The job that does it elsewhere, by what `elsewhere` gives: an expression is hard.
    pub fn find<W: FnOnce() -> T + Send + 'static>(
        &mut self,
        here: impl FnOnce() -> T,
        elsewhere: impl FnOnce() -> W,
    ) -> Result<Option<T>, Job> {
        if let Some(found) = self.0.take() {
            return Ok(found.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        match mapping::easily(here) {
            Ok(found) => Ok(Some(found)),
            Err(Hard) => {
                let (place, work) = (Arc::default(), elsewhere());
                self.0 = Some(Arc::clone(&place));
                Err(Box::new(move || {
                    let found = work();
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
                }))
            }
        }
    }
}
