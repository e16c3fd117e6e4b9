//! How the kernel that streams packed weights shares out a product.
//!
//! A team of blocks takes units of 16 rows of the weight, one after the other; the blocks of a team
//! cut the columns, because a warp holds its share of x in registers. One wave of blocks, one to a
//! multiprocessor, and all teams with the same number of units, or nearly.

use tintype_kernels::params::{MatvecPackedParams, MatvecParams};
use tintype_ops::DType;

use super::super::{Chip, Launch};

/// Rows of a unit.
const UNIT_ROWS: u32 = 16;
/// Columns of a group, of which each warp takes whole ones.
const GROUP_COLS: u32 = 64;
/// Warps of a block.
const WARPS: u32 = 16;
/// Shared memory of a block for up to 8 and up to 16 tokens: `sizeof(Shared<..>)` in
/// `matvec_packed.cu`.
const SHARED_BYTES: [u32; 2] = [152_704, 173_696];
/// Sizes of clusters. Adding up over a cluster costs a few microseconds: the smallest is best.
const CLUSTERS: [u32; 4] = [1, 2, 4, 8];
/// Smallest part of the possible teams, in 20ths, that is taken to give each the same number of
/// units.
const MIN_TEAMS: u32 = 19;

/// A kernel: the most groups of columns that a warp takes.
struct Kernel {
    bf16: &'static str,
    f16: &'static str,
    max_groups: u32,
}

/// For up to 8 tokens.
const N8: [Kernel; 2] = [
    Kernel { bf16: "matvec_packed_bf16_n8_g4", f16: "matvec_packed_f16_n8_g4", max_groups: 4 },
    Kernel { bf16: "matvec_packed_bf16_n8_g8", f16: "matvec_packed_f16_n8_g8", max_groups: 8 },
];

/// For up to 16.
const N16: [Kernel; 1] =
    [Kernel { bf16: "matvec_packed_bf16_n16_g4", f16: "matvec_packed_f16_n16_g4", max_groups: 4 }];

/// The launch of `product`; `None` where no cluster holds its columns, or the chip is too small.
pub(super) fn launch(product: MatvecParams, dtype: DType, chip: Chip) -> Option<Launch> {
    let (kernels, shared_bytes) = match product.num_tokens {
        ..=8 => (N8.as_slice(), SHARED_BYTES[0]),
        _ => (N16.as_slice(), SHARED_BYTES[1]),
    };
    let groups = product.cols / GROUP_COLS;
    let ways = CLUSTERS.iter().flat_map(|&cluster| kernels.iter().map(move |k| (cluster, k)));
    let (cluster, kernel) = ways
        .filter(|&(cluster, _)| num_clusters(chip, cluster) > 0)
        .find(|(cluster, kernel)| groups.div_ceil(*cluster).div_ceil(WARPS) <= kernel.max_groups)?;
    if shared_bytes > chip.max_shared_bytes {
        return None;
    }
    let teams = num_teams(product.rows / UNIT_ROWS, num_clusters(chip, cluster));
    let name = if dtype == DType::F16 { kernel.f16 } else { kernel.bf16 };
    let params = MatvecPackedParams { product, cluster, reserved: 0 };
    let mut launch = Launch::new(name, [teams * cluster, 1, 1], [WARPS * 32, 1, 1], &params);
    launch.cluster = cluster;
    launch.shared_bytes = shared_bytes;
    Some(launch)
}

/// Clusters of `size` blocks that run at the same time. Groups of multiprocessors that share
/// clusters are no multiple of a large cluster, so some of them stay idle.
const fn num_clusters(chip: Chip, size: u32) -> u32 {
    let most = chip.num_sms / size;
    if size <= 2 { most } else { most * 7 / 8 }
}

/// Teams that share `units`, up to `most`.
fn num_teams(units: u32, most: u32) -> u32 {
    let even = units.div_ceil(units.div_ceil(most));
    if even * 20 >= most * MIN_TEAMS { even } else { most.min(units) }
}
