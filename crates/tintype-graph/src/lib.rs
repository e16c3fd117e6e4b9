//! tintype-graph
