//! The chores of this workspace that tests share with the command line.
//!
//! `cargo xtask tidy` and the test `tidy` in `tests/it` call the same function, so nothing can pass
//! on a laptop and fail elsewhere. See [`tidy`] for what is checked and why.

pub mod tidy;
