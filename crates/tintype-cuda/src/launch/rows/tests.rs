//! Launches of the row-wise ops.

use bytemuck::Pod;
use tintype_kernels::params::{ExpertsParams, MoeCombineParams};
use tintype_ops::{Buffer, DType};

use super::super::sample_chips::{AMPERE, HOPPER};
use super::super::{Chip, Placed, Workspace};
use super::*;

/// Buffer and weight `i` lie at `i << 32`.
struct Fake {
    chip: Chip,
    layout: Layout,
    workspace_bytes: u64,
}

const FAKE: Fake = Fake { chip: HOPPER, layout: Layout::RowMajor, workspace_bytes: 16 << 20 };

impl Placement for Fake {
    fn chip(&self) -> Chip {
        self.chip
    }

    fn buffer(&self, buffer: Buffer) -> u64 {
        u64::from(buffer.index()) << 32
    }

    fn weight(&self, weight: Weight) -> Placed {
        Placed { address: u64::from(weight.buffer.index()) << 32, layout: self.layout }
    }

    fn workspace(&self) -> Workspace {
        Workspace { address: 1 << 60, bytes: self.workspace_bytes }
    }
}

fn tensor(buffer: u32, rows: u32, cols: u32, dtype: DType) -> Tensor {
    Tensor::new(Buffer::from_index(buffer), rows, cols, dtype)
}

fn weight(rows: u32, cols: u32) -> Weight {
    Weight { buffer: Buffer::from_index(9), rows, cols, dtype: DType::Bf16 }
}

fn plan_on(fake: &Fake, op: &Op) -> Result<Vec<Launch>> {
    let mut launches = Vec::new();
    plan(op, fake, &mut launches)?;
    Ok(launches)
}

/// The only launch of `op`.
fn single(fake: &Fake, op: &Op) -> Launch {
    let launches = plan_on(fake, op).unwrap();
    assert_eq!(launches.len(), 1, "{launches:?}");
    launches[0].clone()
}

fn params<P: Pod>(launch: &Launch) -> P {
    bytemuck::pod_read_unaligned(&launch.params)
}

fn embed_op(rows: u32) -> Op {
    Op::Embed {
        out: tensor(1, rows, 4096, DType::Bf16),
        ids: tensor(2, rows, 1, DType::I32),
        table: weight(128_256, 4096),
    }
}

#[test]
fn columns_are_shared_by_blocks_along_y() {
    let launch = single(&FAKE, &embed_op(3));
    assert_eq!((launch.kernel, launch.grid, launch.block), ("embed", [3, 2, 1], [256, 1, 1]));
    let narrow = Op::Add { out: tensor(1, 5, 7, DType::F32), x: tensor(2, 5, 7, DType::F16) };
    let launch = single(&FAKE, &narrow);
    assert_eq!((launch.kernel, launch.grid, launch.block), ("add", [5, 1, 1], [32, 1, 1]));
}

#[test]
fn only_hopper_launches_early() {
    assert!(single(&FAKE, &embed_op(3)).programmatic);
    let ampere = Fake { chip: AMPERE, ..FAKE };
    assert!(!single(&ampere, &embed_op(3)).programmatic);
}

#[test]
fn a_packed_table_is_read_as_packed() {
    let packed = Fake { layout: Layout::Packed { gate_up: false }, ..FAKE };
    let params: EmbedParams = params(&single(&packed, &embed_op(3)));
    assert_eq!((params.packed, params.table_rows, params.cols), (1, 128_256, 4096));
    assert_eq!(params.table.address, 9 << 32);
    let gate_up = Fake { layout: Layout::Packed { gate_up: true }, ..FAKE };
    assert!(plan_on(&gate_up, &embed_op(3)).is_err());
}

#[test]
fn a_view_starts_at_its_offset() {
    let q = tensor(1, 2, 6144, DType::Bf16).columns(4096, 1024);
    let op = Op::Rope {
        x: q,
        positions: tensor(2, 2, 1, DType::I32),
        table: tensor(3, 100, 64, DType::F32),
        head_dim: 128,
    };
    let launch = single(&FAKE, &op);
    let params: RopeParams = params(&launch);
    assert_eq!(params.x, View { address: (1 << 32) + 8192, stride: 6144, dtype: 2 });
    assert_eq!((params.heads, params.rotary, params.max_positions), (8, 64, 100));
    assert_eq!((launch.grid, launch.block), ([2, 1, 1], [32, 1, 1]));
}

#[test]
fn rope_kv_spreads_the_heads_of_a_token_over_blocks() {
    let cache = KvCache {
        k: Buffer::from_index(4),
        v: Buffer::from_index(5),
        num_blocks: 10,
        block_size: 16,
        num_kv_heads: 2,
        head_dim: 64,
        dtype: DType::Bf16,
    };
    let norm = |buffer, eps| Norm { weight: tensor(buffer, 1, 64, DType::Bf16), eps };
    let op = |norms| Op::RopeKv {
        qkv: tensor(1, 3, 10 * 64, DType::Bf16),
        cache,
        norms,
        positions: tensor(2, 3, 1, DType::I32),
        table: tensor(3, 100, 64, DType::F32),
        slots: tensor(6, 3, 1, DType::I32),
    };
    let launch = single(&FAKE, &op(Some([norm(7, 0.5), norm(8, 0.25)])));
    assert_eq!((launch.kernel, launch.grid, launch.block), ("rope_kv", [3, 3, 1], [128, 1, 1]));
    let normed: RopeKvParams = params(&launch);
    assert_eq!((normed.num_heads, normed.num_kv_heads, normed.num_slots), (6, 2, 160));
    assert_eq!((normed.q_norm.address, normed.q_eps), (7 << 32, 0.5));
    assert_eq!((normed.k_norm.address, normed.k_eps), (8 << 32, 0.25));
    let plain: RopeKvParams = params(&single(&FAKE, &op(None)));
    assert_eq!((plain.q_norm.address, plain.k_norm.address), (0, 0));
}

#[test]
fn norms_take_a_block_a_row_or_a_warp_a_head() {
    let norm = |dim| Norm { weight: tensor(3, 1, dim, DType::F32), eps: 1e-5 };
    let (out, x) = (tensor(1, 7, 16_384, DType::F16), tensor(2, 7, 16_384, DType::F16));
    let launch = single(&FAKE, &Op::RmsNorm { out, x, norm: norm(16_384) });
    assert_eq!((launch.grid, launch.block), ([7, 1, 1], [1024, 1, 1]));
    let launch = single(&FAKE, &Op::HeadNorm { x, norm: norm(128) });
    assert_eq!((launch.grid, launch.block), ([112, 1, 1], [256, 1, 1]));
    assert_eq!(params::<NormParams>(&launch).heads, 128);
    let many = Tensor { rows: u32::MAX, ..x };
    let error = plan_on(&FAKE, &Op::HeadNorm { x: many, norm: norm(1) }).unwrap_err();
    assert!(error.to_string().contains("thread blocks"), "{error}");
}

#[test]
fn a_row_is_drawn_by_a_cluster_where_there_are_clusters() {
    let op = |cols| Op::Sample {
        out: tensor(1, 5, 1, DType::I32),
        logits: tensor(2, 5, cols, DType::F32),
        params: tensor(3, 5, 8, DType::U32),
    };
    let shape = |launch: &Launch| (launch.cluster, launch.grid[0], launch.block[0]);
    assert_eq!(shape(&single(&FAKE, &op(128_256))), (8, 40, 512));
    assert_eq!(shape(&single(&FAKE, &op(10_000))), (2, 10, 512));
    assert_eq!(shape(&single(&FAKE, &op(99))), (1, 5, 32));
    let ampere = Fake { chip: AMPERE, ..FAKE };
    assert_eq!(shape(&single(&ampere, &op(128_256))), (1, 5, 512));
}

fn gate_up_op(num_tokens: u32) -> Op {
    Op::MoeGateUp {
        out: tensor(1, num_tokens * 2, 14_336, DType::Bf16),
        x: tensor(2, num_tokens, 4096, DType::Bf16),
        weight: weight(8 * 2 * 14_336, 4096),
        ids: tensor(3, num_tokens, 2, DType::I32),
        num_experts: 8,
    }
}

fn down_op(num_tokens: u32) -> Op {
    Op::MoeDown {
        out: tensor(1, num_tokens, 4096, DType::Bf16),
        x: tensor(2, num_tokens * 2, 14_336, DType::Bf16),
        weight: weight(8 * 4096, 14_336),
        ids: tensor(3, num_tokens, 2, DType::I32),
        weights: tensor(4, num_tokens, 2, DType::F32),
        num_experts: 8,
    }
}

#[test]
fn experts_are_covered_by_choice_or_by_expert_whichever_are_fewer() {
    let launch = single(&FAKE, &gate_up_op(1));
    let few: ExpertsParams = params(&launch);
    assert_eq!((launch.kernel, few.row_blocks, launch.grid[0]), ("moe_gate_up_bf16", 1056, 2112));
    let launch = single(&FAKE, &gate_up_op(100));
    let many: ExpertsParams = params(&launch);
    assert_eq!((many.rows, many.row_blocks, launch.grid[0]), (14_336, 264, 8 * 264));
    let packed = Fake { layout: Layout::Packed { gate_up: true }, ..FAKE };
    assert!(plan_on(&packed, &gate_up_op(1)).is_err());
}

#[test]
fn few_choices_are_summed_in_one_launch() {
    let launch = single(&FAKE, &down_op(4));
    assert_eq!(launch.kernel, "moe_down_bf16");
    let params: ExpertsParams = params(&launch);
    assert_eq!(launch.grid[0], 4 * params.row_blocks);
}

#[test]
fn many_choices_go_through_the_workspace_as_far_as_it_reaches() {
    let launches = plan_on(&FAKE, &down_op(1000)).unwrap();
    let kernels: Vec<_> = launches.iter().map(|launch| launch.kernel).collect();
    assert_eq!(kernels, ["moe_parts_bf16", "moe_combine", "moe_parts_bf16", "moe_combine"]);
    let products: ExpertsParams = params(&launches[2]);
    assert_eq!(products.num_tokens, 1000 - 512);
    assert_eq!(products.out, View { address: 1 << 60, stride: 4096, dtype: 0 });
    assert_eq!(products.ids.address, (3 << 32) + 512 * 2 * 4);
    assert_eq!(products.x.address, (2 << 32) + 512 * 2 * 14_336 * 2);
    let sum: MoeCombineParams = params(&launches[3]);
    assert_eq!(sum.out.address, (1 << 32) + 512 * 4096 * 2);
    assert_eq!(sum.weights.address, (4 << 32) + 512 * 2 * 4);
    assert_eq!(launches[3].grid[0], 1000 - 512);

    let tight = Fake { workspace_bytes: 100, ..FAKE };
    let error = plan_on(&tight, &down_op(1000)).unwrap_err();
    assert!(error.to_string().contains("100 bytes of workspace"), "{error}");
}
