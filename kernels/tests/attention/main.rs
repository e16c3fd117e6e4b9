//! Attention, run by the PTX interpreter and compared with plain f64 loops.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod batch;
mod chip;
mod decode;
mod prefill;
mod rope;
mod rows;
