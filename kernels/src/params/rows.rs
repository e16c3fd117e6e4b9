//! Ops that work row by row: embedding, norms, rotation, cache writes, routing, sampling.
