//! CUDA C++ kernels for every op, as the PTX that was built from them, and the parameters that each
//! takes.

pub mod params;
