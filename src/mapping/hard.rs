//! Who waits for an expression that is hard: on a thread of the runtime nobody does. What evaluates expressions is tried there as far as that is
//! easy, and done on one of [`crate::threads`] where it is not.

use std::cell::Cell;

/// An expression is hard: what evaluates it has to be done on one of [`crate::threads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hard;

thread_local! {
    /// Whether a hard expression was met by what is to be easy; none where whoever evaluates waits.
    static MET: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Does `work`, which evaluates expressions, if all of them are easy.
///
/// # Errors
/// [`Hard`]: one of them is not. Nothing that `work` said holds then, and nothing that it did may be left.
pub fn easily<T>(work: impl FnOnce() -> T) -> Result<T, Hard> {
    let reset = Reset(MET.replace(Some(false)));
    let done = work();
    let is_hard = MET.get() == Some(true);
    drop(reset);
    if is_hard { Err(Hard) } else { Ok(done) }
}

struct Reset(Option<bool>);

impl Drop for Reset {
    fn drop(&mut self) {
        MET.set(self.0);
    }
}

/// A hard expression is met; whether it is to be left.
pub(super) fn is_left() -> bool {
    let is_left = MET.get().is_some();
    if is_left {
        MET.set(Some(true));
    }
    is_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_expression_is_left_where_all_are_to_be_easy() {
        assert_eq!(easily(|| 1), Ok(1));
        assert_eq!(easily(is_left), Err(Hard));
        assert!(!is_left(), "whoever waits meets it");
        let panicked = std::panic::catch_unwind(|| easily(|| panic!("a bug")));
        assert!(panicked.is_err() && !is_left());
    }
}
