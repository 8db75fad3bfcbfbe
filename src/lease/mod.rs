//! Who drives a destination when several workers could: the one that holds the note in the destination's lease queue, and proves it to the
//! queue's majority before it sends. Pure: time and notes are arguments, and `fleet` carries out what comes of them.

mod act;
mod fence;
mod in_hand;
mod machine;
mod note;
mod place;
pub mod port;
#[cfg(test)]
mod tests;

pub use act::Act;
pub use fence::Fence;
pub use machine::Machine;
pub use note::{Driven, Note, NoteError, Owner, Says};
