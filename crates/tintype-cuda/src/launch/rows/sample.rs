//! Drawing tokens.

use tintype_kernels::params::SampleParams;
use tintype_ops::{Result, Tensor};

use super::super::{Launch, Placement};
use super::{blocks, threads};

/// Most blocks that share a row; every chip with clusters has room for so many in one.
const MAX_CLUSTER: u32 = 8;
/// Most threads of a block, as the kernel is compiled.
const MAX_THREADS: u32 = 512;
/// Logits that make a block worth its part in the exchange.
const LOGITS_PER_BLOCK: u32 = 4096;

/// One cluster for each row where the chip has clusters, else one block.
///
/// # Errors
/// When there are more rows than a grid takes.
pub(super) fn sample(
    out: Tensor,
    logits: Tensor,
    params: Tensor,
    at: &dyn Placement,
) -> Result<Launch> {
    let cluster = if at.chip().is_hopper() { cluster(logits.cols) } else { 1 };
    let blocks = blocks("sample", u64::from(logits.rows) * u64::from(cluster))?;
    let threads = threads(logits.cols.div_ceil(cluster), MAX_THREADS);
    let params = SampleParams {
        out: at.view(out),
        logits: at.view(logits),
        params: at.view(params),
        cols: logits.cols,
        reserved: 0,
    };
    Ok(Launch { cluster, ..Launch::new("sample", [blocks, 1, 1], [threads, 1, 1], &params) })
}

/// A power of two that leaves each block [`LOGITS_PER_BLOCK`] at least.
fn cluster(cols: u32) -> u32 {
    let fitting = (cols / LOGITS_PER_BLOCK).clamp(1, MAX_CLUSTER);
    1 << fitting.ilog2()
}
