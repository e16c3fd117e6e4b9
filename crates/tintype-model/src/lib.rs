//! tintype-model
