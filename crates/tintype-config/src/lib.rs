//! tintype-config
