//! Launches of products of few rows, and of packing.

use bytemuck::Pod;
use tintype_kernels::params::{BF16, F32 as F32_TAG, MatvecPackedParams, NormParams, PackParams};
use tintype_ops::{Buffer, WeightRole};

use super::super::sample_chips::{AMPERE, HOPPER};
use super::super::{Chip, Workspace};
use super::*;

const PACKED: Layout = Layout::Packed { gate_up: false };
const PAIRED: Layout = Layout::Packed { gate_up: true };
const WEIGHT: u64 = 1 << 50;
const WORKSPACE: u64 = 1 << 60;

/// Buffer `i` lies at `i << 32`.
struct Fake {
    chip: Chip,
    layout: Layout,
    workspace_bytes: u64,
}

impl Fake {
    const fn new(chip: Chip, layout: Layout) -> Self {
        Self { chip, layout, workspace_bytes: 16 << 20 }
    }
}

impl Placement for Fake {
    fn chip(&self) -> Chip {
        self.chip
    }

    fn buffer(&self, buffer: Buffer) -> u64 {
        u64::from(buffer.index()) << 32
    }

    fn weight(&self, _weight: Weight) -> Placed {
        Placed { address: WEIGHT, layout: self.layout }
    }

    fn workspace(&self) -> Workspace {
        Workspace { address: WORKSPACE, bytes: self.workspace_bytes }
    }
}

/// A product, to be changed where a test needs another.
#[derive(Clone, Copy)]
struct Product {
    n: u32,
    rows: u32,
    cols: u32,
    epilogue: Epilogue,
    weight: DType,
    x: DType,
    x_gap: u32,
    norm: Option<DType>,
}

const PRODUCT: Product = Product {
    n: 1,
    rows: 4096,
    cols: 4096,
    epilogue: Epilogue::Store,
    weight: DType::Bf16,
    x: DType::Bf16,
    x_gap: 0,
    norm: None,
};

fn tensor(buffer: u32, rows: u32, cols: u32, dtype: DType) -> Tensor {
    Tensor::new(Buffer::from_index(buffer), rows, cols, dtype)
}

impl Product {
    fn op(self) -> Op {
        let Self { n, rows, cols, epilogue, .. } = self;
        let outputs = if epilogue == Epilogue::SiluMul { rows / 2 } else { rows };
        let x = tensor(2, n, cols, self.x);
        let norm = |dtype| Norm { weight: tensor(3, 1, cols, dtype), eps: 1e-5 };
        Op::Matmul {
            out: tensor(1, n, outputs, DType::F32),
            x: Tensor { stride: cols + self.x_gap, ..x },
            weight: Weight { buffer: Buffer::from_index(0), rows, cols, dtype: self.weight },
            bias: Some(tensor(4, 1, rows, DType::F32)),
            norm: self.norm.map(norm),
            epilogue,
        }
    }

    fn plan(self, fake: &Fake) -> Vec<Launch> {
        let mut launches = Vec::new();
        plan(&self.op(), fake, &mut launches).unwrap();
        launches
    }

    fn kernels(self, fake: &Fake) -> Vec<&'static str> {
        self.plan(fake).iter().map(|launch| launch.kernel).collect()
    }

    /// The one launch on a whole chip with a packed weight, and how it is cut.
    fn streamed(self) -> (Launch, MatvecPackedParams) {
        let mut launches = self.plan(&Fake::new(HOPPER, PACKED));
        assert_eq!(launches.len(), 1);
        let launch = launches.remove(0);
        let params = params(&launch);
        (launch, params)
    }
}

fn params<P: Pod>(launch: &Launch) -> P {
    bytemuck::pod_read_unaligned(&launch.params)
}

#[test]
fn packed_weights_are_streamed() {
    let (launch, params) = Product { norm: Some(DType::Bf16), ..PRODUCT }.streamed();
    assert_eq!(launch.kernel, "matvec_packed_bf16_n8_g4");
    assert_eq!((launch.block, launch.cluster, launch.programmatic), ([512, 1, 1], 1, true));
    let product = params.product;
    assert_eq!(
        (product.weight, product.x.address, product.norm.address),
        (WEIGHT, 2 << 32, 3 << 32)
    );
    assert_eq!((product.bias.dtype, product.out.dtype, product.eps), (F32_TAG, F32_TAG, 1e-5));
}

#[test]
fn wide_weights_are_cut_over_more_registers_and_then_over_clusters() {
    let way = |n, cols| {
        let (launch, params) = Product { n, cols, ..PRODUCT }.streamed();
        assert_eq!(launch.cluster, params.cluster);
        assert!(launch.shared_bytes <= HOPPER.max_shared_bytes);
        assert!(2 * launch.shared_bytes > HOPPER.max_shared_bytes, "two blocks fit");
        (launch.kernel.trim_start_matches("matvec_packed_bf16_"), launch.cluster)
    };
    assert_eq!(way(1, 4096), ("n8_g4", 1));
    assert_eq!(way(8, 8192), ("n8_g8", 1));
    assert_eq!(way(8, 8256), ("n8_g8", 2));
    assert_eq!(way(8, 14336), ("n8_g8", 2));
    assert_eq!(way(8, 65536), ("n8_g8", 8));
    assert_eq!(way(9, 4096), ("n16_g4", 1));
    assert_eq!(way(16, 14336), ("n16_g4", 4));
    let too_wide = Product { cols: 65600, ..PRODUCT };
    assert_eq!(too_wide.kernels(&Fake::new(HOPPER, PACKED)), ["matvec_packed_any_bf16"]);
}

#[test]
fn teams_get_the_same_number_of_units() {
    let grid = |rows, cols| Product { rows, cols, ..PRODUCT }.streamed().0.grid[0];
    assert_eq!(grid(4096, 4096), 128, "2 units each");
    assert_eq!(grid(4096, 14336), 128, "64 teams of two blocks, 4 units each");
    assert_eq!(grid(3072, 4096), 132, "96 teams would leave too much of the chip idle");
    assert_eq!(grid(16, 4096), 1);
    let (launch, _) = Product { n: 16, cols: 14336, ..PRODUCT }.streamed();
    assert!(launch.grid[0] <= 28 * 4, "more than 28 clusters of 4 may not fit at once");
}

#[test]
fn a_small_chip_gets_a_small_grid_and_no_cluster_that_it_cannot_hold() {
    let chip = Chip { num_sms: 4, ..HOPPER };
    let fake = Fake::new(chip, PACKED);
    let launch = PRODUCT.plan(&fake).remove(0);
    assert_eq!(launch.grid, [4, 1, 1]);
    let wide = Product { cols: 32768, ..PRODUCT };
    assert_eq!(wide.kernels(&fake), ["matvec_packed_any_bf16"]);
}

#[test]
fn odd_norms_are_applied_in_the_workspace() {
    let fake = Fake::new(HOPPER, PACKED);
    let normalised = ["rms_norm", "matvec_packed_bf16_n8_g4"];
    let odd_norm = Product { norm: Some(DType::F32), ..PRODUCT };
    let odd_x = Product { norm: Some(DType::Bf16), x: DType::F32, ..PRODUCT };
    let unaligned_x = Product { norm: Some(DType::Bf16), x_gap: 1, n: 2, ..PRODUCT };
    for product in [odd_norm, odd_x, unaligned_x] {
        assert_eq!(product.kernels(&fake), normalised);
        let launches = product.plan(&fake);
        assert!(launches.iter().all(|launch| launch.programmatic));
        let (norm, product): (NormParams, MatvecPackedParams) =
            (params(&launches[0]), params(&launches[1]));
        assert_eq!((norm.out.address, norm.out.dtype), (WORKSPACE, BF16));
        assert_eq!(product.product.x, norm.out);
        assert_eq!(product.product.norm.address, 0);
    }
    let half = Product { norm: Some(DType::F16), weight: DType::F16, x: DType::F16, ..PRODUCT };
    assert_eq!(half.kernels(&fake), ["rms_norm", "matvec_packed_f16_n8_g4"]);
    let small = Fake { workspace_bytes: 4096, ..fake };
    assert_eq!(odd_norm.kernels(&small), ["matvec_packed_any_bf16"]);
}

#[test]
fn other_operands_take_the_kernels_for_any() {
    let fake = Fake::new(HOPPER, PACKED);
    assert_eq!(Product { x: DType::F32, ..PRODUCT }.kernels(&fake), ["matvec_packed_any_bf16"]);
    let unaligned = Product { x_gap: 4, n: 2, ..PRODUCT };
    assert_eq!(unaligned.kernels(&fake), ["matvec_packed_any_bf16"]);
    let paired = Product { epilogue: Epilogue::SiluMul, ..PRODUCT };
    assert_eq!(paired.kernels(&fake), ["matvec_packed_any_bf16"]);
    assert_eq!(paired.kernels(&Fake::new(HOPPER, PAIRED)), ["matvec_packed_bf16_n8_g4"]);
    let stored = PRODUCT.plan(&Fake::new(HOPPER, PAIRED)).remove(0);
    assert_eq!(params::<MatvecPackedParams>(&stored).product.gate_rows, 2048);
}

#[test]
fn row_major_weights_take_one_kernel_for_one_token_and_one_for_more() {
    let fake = Fake::new(AMPERE, Layout::RowMajor);
    let launch = |product: Product| product.plan(&fake).remove(0);
    let one = launch(Product { rows: 17, cols: 5, ..PRODUCT });
    assert_eq!((one.kernel, one.grid, one.programmatic), ("matvec_bf16_n1", [2, 1, 1], false));
    let more = launch(Product { n: 16, rows: 33, ..PRODUCT });
    assert_eq!((more.kernel, more.grid), ("matvec_bf16_n16", [2, 1, 1]));
    let wide = launch(Product { n: 16, rows: 33, weight: DType::F32, ..PRODUCT });
    assert_eq!((wide.kernel, wide.grid), ("matvec_f32_n16", [3, 1, 1]));
}

#[test]
fn more_rows_are_refused() {
    let op = Product { n: 17, ..PRODUCT }.op();
    let error = plan(&op, &Fake::new(HOPPER, PACKED), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("17 rows"), "{error}");
}

#[test]
fn only_hopper_packs_and_only_what_divides() {
    let of = |chip, rows, cols, dtype, role| layout(chip, rows, cols, dtype, role);
    let plain = WeightRole::Plain;
    assert_eq!(of(HOPPER, 48, 128, DType::Bf16, plain), PACKED);
    assert_eq!(of(HOPPER, 48, 128, DType::F16, WeightRole::GateUp), PAIRED);
    let experts = WeightRole::Experts { num_experts: 3, gate_up: false };
    let row_major = [
        of(AMPERE, 48, 128, DType::Bf16, plain),
        of(HOPPER, 48, 128, DType::F32, plain),
        of(HOPPER, 40, 128, DType::Bf16, plain),
        of(HOPPER, 48, 96, DType::Bf16, plain),
        of(HOPPER, 48, 128, DType::Bf16, experts),
    ];
    assert_eq!(row_major, [Layout::RowMajor; 5]);
}

#[test]
fn packing_covers_the_units_of_its_rows() {
    let units = |gate_up, rows| {
        let launch = pack([WEIGHT, 512], [96, 128], gate_up, rows);
        let params: PackParams = params(&launch);
        (params.first_unit, params.num_units)
    };
    assert_eq!(units(false, 0..96), (0, 6));
    assert_eq!(units(false, 15..33), (0, 3));
    assert_eq!(units(true, 7..9), (0, 2), "of the gate");
    assert_eq!(units(true, 56..96), (1, 5), "of the up projection");
    assert_eq!(units(true, 40..56), (0, 6), "of both");
}
