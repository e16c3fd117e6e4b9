//! Products of many rows, run by the PTX interpreter and compared with plain loops.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod any;
#[expect(dead_code, reason = "shared with the tests of other kernels")]
#[path = "../rows/device.rs"]
mod device;
#[expect(dead_code, reason = "shared with the products of few rows")]
#[path = "../matvec/product.rs"]
mod product;
mod rows;
mod wgmma;
