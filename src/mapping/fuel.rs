//! Bounds one evaluation: work goes in; its result comes out, or why it was stopped. Counts steps and watches the
//! stack instead of the clock, so that the same expression on the same event ends the same everywhere.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What one evaluation may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Units of work: one for each value touched, [`STEP`] for each term of the expression that is run.
    pub fuel: u64,
    /// The most that a single value may weigh.
    pub heaviest: usize,
    /// Bytes of stack.
    pub stack: usize,
    /// Arrays and objects inside one another: they are compared, written and freed recursively.
    pub deepest: usize,
}

impl Budget {
    /// For what is bounded by itself.
    pub const NONE: Self = Self { fuel: u64::MAX, heaviest: usize::MAX, stack: usize::MAX, deepest: usize::MAX };
}

/// Why work was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// It ran too long.
    Work,
    /// It called itself, or nested values, too deeply.
    Depth,
    /// It made a value that is too large.
    Size,
    /// It failed by itself.
    Broken,
}

/// What running one term costs.
const STEP: u64 = 2;

thread_local! {
    static FUEL: Cell<u64> = const { Cell::new(u64::MAX) };
    static HEAVIEST: Cell<usize> = const { Cell::new(usize::MAX) };
    static DEEPEST: Cell<usize> = const { Cell::new(usize::MAX) };
    static STACK_END: Cell<usize> = const { Cell::new(0) };
}

/// Does `work`, which calls [`charge`], [`step`] and [`weigh`] on the way, within `budget`.
pub(super) fn within<T>(budget: Budget, work: impl FnOnce() -> T) -> Result<T, Exceeded> {
    measured(budget, work).0
}

/// The same; tells also how many units of work it was.
pub(super) fn measured<T>(budget: Budget, work: impl FnOnce() -> T) -> (Result<T, Exceeded>, u64) {
    FUEL.set(budget.fuel);
    HEAVIEST.set(budget.heaviest);
    DEEPEST.set(budget.deepest);
    STACK_END.set(here().saturating_sub(budget.stack));
    let done = catch_unwind(AssertUnwindSafe(work));
    let used = budget.fuel.saturating_sub(FUEL.replace(u64::MAX));
    HEAVIEST.set(usize::MAX);
    DEEPEST.set(usize::MAX);
    STACK_END.set(0);
    let done = done
        .map_err(|reason: Box<dyn Any + Send>| reason.downcast_ref::<Exceeded>().copied().unwrap_or(Exceeded::Broken));
    (done, used)
}

/// Uses up `units`; does not return when they are not there.
pub(super) fn charge(units: usize) {
    spend(u64::try_from(units).unwrap_or(u64::MAX));
}

/// One term of the expression is run.
pub(super) fn step() {
    if here() < STACK_END.get() {
        stop(Exceeded::Depth);
    }
    spend(STEP);
}

/// A value of that weight is made; does not return when it is too heavy.
pub(super) fn weigh(weight: usize) {
    if weight > HEAVIEST.get() {
        stop(Exceeded::Size);
    }
}

/// How many arrays and objects may be inside one another.
pub(super) fn deepest() -> usize {
    DEEPEST.get()
}

fn spend(units: u64) {
    match FUEL.get().checked_sub(units) {
        Some(left) => FUEL.set(left),
        None => stop(Exceeded::Work),
    }
}

/// Leaves the work from wherever it is: unwinds, without a panic's message.
pub(super) fn stop(reason: Exceeded) -> ! {
    resume_unwind(Box::new(reason))
}

/// About where the stack ends now; it grows towards lower addresses.
#[inline(never)]
fn here() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&marker)).addr()
}
