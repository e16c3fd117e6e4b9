//! Matrix products of up to 16 rows, and the repacking of weights.

use tintype_ops::{Error, Op, Result, Weight};

use super::{Launch, Placement};

/// Appends the launches of `op`.
pub(super) fn plan(op: &Op, _at: &dyn Placement, _launches: &mut Vec<Launch>) -> Result<()> {
    Err(Error::InvalidOp { op: op.name(), what: "no kernel yet".into() })
}

/// Whether a product of `rows` rows with this weight is bound by reading the weight.
pub(super) fn takes(_weight: Weight, rows: u32) -> bool {
    rows <= 16
}
