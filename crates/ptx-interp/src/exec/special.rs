//! Special registers.

use super::Executor;
use crate::lanes::{Register, Slot};

/// `mov` from a special register.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadSpecial {
    pub(crate) dst: Register,
    pub(crate) source: Special,
}

/// A special register; the number of a vector is its component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    ThreadIdx(usize),
    BlockDim(usize),
    BlockIdx(usize),
    GridDim(usize),
    ClusterIdx(usize),
    ClusterDimInGrid(usize),
    BlockIdxInCluster(usize),
    ClusterDim(usize),
    BlockRankInCluster,
    BlocksPerCluster,
    IsExplicitCluster,
    Lane,
    Warp,
    NumWarps,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    /// Time, in instructions of the warp.
    Clock,
    DynamicSharedBytes,
    TotalSharedBytes,
    /// The multiprocessor: there is one.
    Multiprocessor,
    NumMultiprocessors,
}

impl Special {
    /// The special register called `name`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if let Some((vector, component)) = name.rsplit_once('.') {
            let component = ["x", "y", "z"].iter().position(|c| *c == component)?;
            return Self::vector(vector).map(|vector| vector(component));
        }
        Some(match name {
            "%cluster_ctarank" => Self::BlockRankInCluster,
            "%cluster_nctarank" => Self::BlocksPerCluster,
            "%is_explicit_cluster" => Self::IsExplicitCluster,
            "%laneid" => Self::Lane,
            "%warpid" => Self::Warp,
            "%nwarpid" => Self::NumWarps,
            "%lanemask_eq" => Self::LaneMaskEq,
            "%lanemask_lt" => Self::LaneMaskLt,
            "%lanemask_le" => Self::LaneMaskLe,
            "%lanemask_gt" => Self::LaneMaskGt,
            "%lanemask_ge" => Self::LaneMaskGe,
            "%clock" | "%clock64" | "%globaltimer" => Self::Clock,
            "%dynamic_smem_size" => Self::DynamicSharedBytes,
            "%total_smem_size" => Self::TotalSharedBytes,
            "%smid" => Self::Multiprocessor,
            "%nsmid" => Self::NumMultiprocessors,
            _ => return None,
        })
    }

    fn vector(name: &str) -> Option<fn(usize) -> Self> {
        Some(match name {
            "%tid" => Self::ThreadIdx,
            "%ntid" => Self::BlockDim,
            "%ctaid" => Self::BlockIdx,
            "%nctaid" => Self::GridDim,
            "%clusterid" => Self::ClusterIdx,
            "%nclusterid" => Self::ClusterDimInGrid,
            "%cluster_ctaid" => Self::BlockIdxInCluster,
            "%cluster_nctaid" => Self::ClusterDim,
            _ => return None,
        })
    }
}

impl Executor<'_, '_> {
    /// `mov` from a special register.
    #[inline(never)]
    pub(super) fn special(&mut self, op: ReadSpecial, active: u32) {
        let mut values = [0u64; 32];
        for (lane, value) in values.iter_mut().enumerate() {
            *value = self.special_value(op.source, lane as u32);
        }
        if let Some(dst) = op.dst.slot::<u64>() {
            self.write(dst, active, &values, !0);
        } else {
            let mask = if op.dst.bits == 16 { 0xffff } else { u32::MAX };
            let dst = Slot::<u32>::new(op.dst.index);
            self.write(dst, active, &values.map(|value| value as u32 & mask), !0);
        }
    }

    fn special_value(&self, source: Special, lane: u32) -> u64 {
        let (env, block) = (self.env, &*self.block);
        let launch = env.launch;
        let value = match source {
            Special::ThreadIdx(i) => {
                let [x, y, _] = launch.block;
                let thread = self.warp.index * 32 + lane;
                [thread % x, thread / x % y, thread / (x * y)][i]
            }
            Special::BlockDim(i) => launch.block[i],
            Special::BlockIdx(i) => block.index[i],
            Special::GridDim(i) => launch.grid[i],
            Special::ClusterIdx(i) => block.index[i] / launch.cluster[i],
            Special::ClusterDimInGrid(i) => env.clusters()[i],
            Special::BlockIdxInCluster(i) => block.index[i] % launch.cluster[i],
            Special::ClusterDim(i) => launch.cluster[i],
            Special::BlockRankInCluster => block.rank,
            Special::BlocksPerCluster => env.blocks_per_cluster(),
            Special::IsExplicitCluster => u32::from(env.blocks_per_cluster() > 1),
            Special::Lane => lane,
            Special::Warp => self.warp.index,
            Special::NumWarps => env.warps_per_block(),
            Special::LaneMaskEq => 1 << lane,
            Special::LaneMaskLt => (1 << lane) - 1,
            Special::LaneMaskLe => (2u32 << lane).wrapping_sub(1),
            Special::LaneMaskGt => !(2u32 << lane).wrapping_sub(1),
            Special::LaneMaskGe => !((1 << lane) - 1),
            Special::Clock => return self.stats.warp_instructions,
            Special::DynamicSharedBytes => launch.dynamic_shared_bytes,
            Special::TotalSharedBytes => env.shared_bytes,
            Special::Multiprocessor => 0,
            Special::NumMultiprocessors => 1,
        };
        u64::from(value)
    }
}
