//! The CUDA backend: ops as kernel launches, captured as CUDA graphs.

mod launch;
