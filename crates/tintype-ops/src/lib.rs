//! tintype-ops
