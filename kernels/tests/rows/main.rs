//! The row-wise kernels, run by the PTX interpreter and compared with plain loops.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod copies;
mod device;
mod elementwise;
mod moe;
mod norm;
mod rope_kv;
mod sample;
mod words;
