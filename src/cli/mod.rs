//! The commands, one file each: arguments come in, output and an error go out. No logic of their own.

pub mod sandbox;
