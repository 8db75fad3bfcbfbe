//! Configuration: text and environment in; a [`Config`] or every problem out.

pub mod section;

pub use section::Section;
