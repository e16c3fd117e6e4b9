//! tintype-runner
