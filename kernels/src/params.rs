//! The by-value parameters of each kernel, twins of the structs in `include/params/`.
//!
//! Outputs come first. Every struct is plain data without padding, and its size is asserted here
//! and in C++.

mod attention;
mod copy;
mod gemm;
mod gemm_wgmma;
mod matvec;
mod probe;
mod rows;
mod view;

pub use attention::*;
pub use copy::*;
pub use gemm::*;
pub use gemm_wgmma::*;
pub use matvec::*;
pub use probe::*;
pub use rows::*;
pub use view::*;
