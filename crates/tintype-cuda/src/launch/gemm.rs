//! Matrix products of many rows.

use tintype_ops::{Error, Op, Result};

use super::{Launch, Placement};

/// Appends the launches of `op`.
pub(super) fn plan(op: &Op, _at: &dyn Placement, _launches: &mut Vec<Launch>) -> Result<()> {
    Err(Error::InvalidOp { op: op.name(), what: "no kernel yet".into() })
}
