//! tintype-cpu
