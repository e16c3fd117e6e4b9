//! Launches of products of many rows.

use bytemuck::Pod;
use tintype_kernels::params::{
    ArrangeParams, F32 as F32_TAG, GemmWgmmaParams, NormParams, SHARES_NOTHING, SHARES_WEIGHT,
    SHARES_X,
};
use tintype_ops::Buffer;

use super::super::Workspace;
use super::super::sample_chips::{AMPERE, HOPPER};
use super::*;

const PACKED: Layout = Layout::Packed { gate_up: false };
const PAIRED: Layout = Layout::Packed { gate_up: true };

/// Buffer `i` lies at `i << 32`, the weight at `1 << 50`, the workspace at `1 << 60`.
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
        Placed { address: 1 << 50, layout: self.layout }
    }

    fn workspace(&self) -> Workspace {
        Workspace { address: 1 << 60, bytes: self.workspace_bytes }
    }
}

fn tensor(buffer: u32, rows: u32, cols: u32, dtype: DType) -> Tensor {
    Tensor::new(Buffer::from_index(buffer), rows, cols, dtype)
}

/// A bf16 product of `n` tokens with a weight of `rows` x `cols`.
fn matmul(n: u32, rows: u32, cols: u32, epilogue: Epilogue) -> Op {
    let outputs = if epilogue == Epilogue::SiluMul { rows / 2 } else { rows };
    Op::Matmul {
        out: tensor(1, n, outputs, DType::Bf16),
        x: tensor(2, n, cols, DType::Bf16),
        weight: Weight { buffer: Buffer::from_index(0), rows, cols, dtype: DType::Bf16 },
        bias: None,
        norm: None,
        epilogue,
    }
}

fn with_norm(mut op: Op) -> Op {
    if let Op::Matmul { norm, x, .. } = &mut op {
        *norm = Some(Norm { weight: tensor(3, 1, x.cols, DType::Bf16), eps: 1e-5 });
    }
    op
}

fn plan_on(fake: &Fake, op: &Op) -> Vec<Launch> {
    let mut launches = Vec::new();
    plan(op, fake, &mut launches).unwrap();
    launches
}

fn kernels(fake: &Fake, op: &Op) -> Vec<&'static str> {
    plan_on(fake, op).iter().map(|launch| launch.kernel).collect()
}

fn params<P: Pod>(launch: &Launch) -> P {
    bytemuck::pod_read_unaligned(&launch.params)
}

#[test]
fn weights_and_chips_choose_the_kernel() {
    let plain = matmul(100, 512, 256, Epilogue::Add);
    let paired = matmul(100, 512, 256, Epilogue::SiluMul);
    let first = |chip, layout, op: &Op| kernels(&Fake::new(chip, layout), op)[0];
    assert_eq!(first(HOPPER, PACKED, &plain), "gemm_arrange_bf16");
    assert_eq!(first(HOPPER, PAIRED, &paired), "gemm_arrange_bf16");
    assert_eq!(first(HOPPER, PAIRED, &plain), "gemm_any");
    assert_eq!(first(HOPPER, PACKED, &paired), "gemm_any");
    assert_eq!(first(AMPERE, Layout::RowMajor, &plain), "gemm_rows_n128_bf16");
    let few = matmul(20, 512, 256, Epilogue::Store);
    assert_eq!(first(HOPPER, Layout::RowMajor, &few), "gemm_rows_n64_bf16");
    let odd = matmul(20, 512, 250, Epilogue::Store);
    assert_eq!(first(AMPERE, Layout::RowMajor, &odd), "gemm_any");
}

#[test]
fn x_of_another_type_or_place_takes_the_kernel_for_every_mix() {
    let fake = Fake::new(HOPPER, PACKED);
    let mut op = matmul(40, 512, 256, Epilogue::Store);
    let Op::Matmul { x, .. } = &mut op else { unreachable!() };
    x.dtype = DType::F32;
    assert_eq!(kernels(&fake, &op), ["gemm_any"]);
    // The norm brings x into the weight's type.
    assert!(kernels(&fake, &with_norm(op))[1].starts_with("gemm_wgmma_"));
    let mut op = matmul(40, 512, 256, Epilogue::Store);
    let Op::Matmul { x, .. } = &mut op else { unreachable!() };
    x.offset = 1;
    assert_eq!(kernels(&fake, &op), ["gemm_any"]);
}

#[test]
fn only_hopper_launches_programmatically() {
    let op = with_norm(matmul(200, 512, 256, Epilogue::Add));
    let hopper = plan_on(&Fake::new(HOPPER, PACKED), &op);
    assert!(hopper.len() == 2 && hopper.iter().all(|launch| launch.programmatic));
    let ampere = plan_on(&Fake::new(AMPERE, Layout::RowMajor), &op);
    assert!(ampere.len() == 2 && ampere.iter().all(|launch| !launch.programmatic));
}

#[test]
fn a_norm_goes_through_the_workspace_in_parts() {
    let mut fake = Fake::new(AMPERE, Layout::RowMajor);
    fake.workspace_bytes = 300 * 256 * 2;
    let launches = plan_on(&fake, &with_norm(matmul(600, 512, 256, Epilogue::Add)));
    let norms: Vec<NormParams> = launches.iter().step_by(2).map(params).collect();
    let products: Vec<GemmParams> = launches.iter().skip(1).step_by(2).map(params).collect();
    let rows = |start: u64| (2u64 << 32) + start * 256 * 2;
    let tokens: Vec<u32> = products.iter().map(|product| product.num_tokens).collect();
    assert_eq!(tokens, [256, 256, 88]);
    for (i, (norm, product)) in norms.iter().zip(&products).enumerate() {
        assert_eq!(norm.x.address, rows(256 * i as u64));
        assert_eq!((norm.out, norm.num_rows), (product.x, product.num_tokens));
        assert_eq!(product.x.address, 1 << 60);
        assert_eq!(product.out.address, (1 << 32) + 256 * i as u64 * 512 * 2);
    }
}

#[test]
fn a_norm_in_front_of_f32_arithmetic_is_not_rounded() {
    let mut op = with_norm(matmul(20, 512, 256, Epilogue::Store));
    let Op::Matmul { weight, .. } = &mut op else { unreachable!() };
    weight.dtype = DType::F32;
    let launches = plan_on(&Fake::new(HOPPER, Layout::RowMajor), &op);
    assert_eq!(launches[1].kernel, "gemm_any");
    assert_eq!(params::<NormParams>(&launches[0]).out.dtype, F32_TAG);
}

#[test]
fn a_workspace_without_room_for_a_row_is_refused() {
    let mut fake = Fake::new(HOPPER, PACKED);
    fake.workspace_bytes = 1023;
    let op = with_norm(matmul(20, 512, 256, Epilogue::Store));
    let error = plan(&op, &fake, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("1023 bytes") && error.contains("1024"), "{error}");
}

#[test]
fn paired_rows_are_covered_in_units_of_8() {
    let fake = Fake::new(AMPERE, Layout::RowMajor);
    let launch = &plan_on(&fake, &matmul(20, 2 * 65, 256, Epilogue::SiluMul))[0];
    assert_eq!(launch.grid, [2, 1, 1], "9 units of 8 + 8 rows, 8 in a block");
}

#[test]
fn layers_of_an_8b_model_fill_the_chip() {
    let fake = Fake::new(HOPPER, PACKED);
    for n in [64, 256, 2048] {
        for (rows, cols) in [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)] {
            let launches = plan_on(&fake, &matmul(n, rows, cols, Epilogue::Store));
            let launch = launches.last().unwrap();
            assert!(launch.grid[0] >= 96, "{n} {rows}x{cols}: {launch:?}");
        }
    }
}

#[test]
fn rows_are_arranged_for_warpgroups() {
    for norm in [false, true] {
        let mut op = matmul(200, 512, 256, Epilogue::Add);
        if norm {
            op = with_norm(op);
        }
        let launches = plan_on(&Fake::new(HOPPER, PACKED), &op);
        let [arrange, product] = launches.as_slice() else { panic!("{launches:?}") };
        assert_eq!(arrange.kernel, "gemm_arrange_bf16");
        assert!(product.kernel.starts_with("gemm_wgmma_n"), "{product:?}");
        let (first, second): (ArrangeParams, GemmWgmmaParams) = (params(arrange), params(product));
        assert_eq!(first.out, 1 << 60);
        assert_eq!(first.x.address, 2 << 32);
        assert_eq!(first.norm.address, if norm { 3 << 32 } else { 0 });
        assert_eq!((first.room, arrange.grid), (second.product.x.stride, [200, 1, 1]));
        assert_eq!(second.product.x.address, 1 << 60);
        assert_eq!(second.product.weight, 1 << 50);
    }
    // f32 that no norm rounds stays f32.
    let mut op = matmul(200, 512, 256, Epilogue::Store);
    let Op::Matmul { x, .. } = &mut op else { unreachable!() };
    x.dtype = DType::F32;
    assert_eq!(kernels(&Fake::new(HOPPER, PACKED), &op), ["gemm_any"]);
}

/// Tokens of a warpgroup kernel's tile, by its name.
fn wgmma_tokens(launch: &Launch) -> u32 {
    launch.kernel.strip_prefix("gemm_wgmma_n").unwrap().split('_').next().unwrap().parse().unwrap()
}

/// Checks a pair of launches, for a weight of `rows` x `cols`, against what the kernels derive.
fn check_pair(fake: &Fake, pair: &[Launch], rows: u32, cols: u32) {
    let (arrange, launch) = (params::<ArrangeParams>(&pair[0]), &pair[1]);
    let p: GemmWgmmaParams = params(launch);
    let tile = wgmma_tokens(launch);
    assert_eq!(arrange.num_tokens, p.product.num_tokens);
    assert_eq!(p.num_token_tiles, arrange.num_tokens.div_ceil(tile));
    let [wide, high] = [SHARES_WEIGHT, SHARES_X].map(|shares| 1 + u32::from(p.shares == shares));
    assert_eq!(arrange.room, p.num_token_tiles.next_multiple_of(wide) * tile);
    let shorts = (p.num_row_chunks - p.num_tall) * (p.height - p.step);
    let [units, covered] = [rows / 16, p.num_tall * p.height + shorts];
    assert!(covered >= units && covered < units + p.height, "{launch:?}");
    assert!((1..=p.num_row_chunks).contains(&p.num_tall), "{launch:?}");
    let most = if tile <= 128 { 16 } else { 8 };
    assert!(p.height <= most && launch.block[0] == p.height.div_ceil(4) * 128 + 128);
    let halves = 1 + u32::from(p.handover != 0);
    let workers = launch.grid[0] / launch.cluster / halves;
    let all = p.num_row_chunks.div_ceil(high) * p.num_token_tiles.div_ceil(wide);
    let takes_several = launch.cluster == 1 || p.shares != SHARES_NOTHING && halves == 1;
    assert!(workers == all || takes_several && workers < all, "{launch:?}");
    let (x_bytes, warps) = (u64::from(arrange.room * cols) * 2, (launch.block[0] - 128) / 32);
    assert_eq!(arrange.num_flags, if halves == 2 { launch.grid[0] / 2 * warps } else { 0 });
    assert!(halves == 1 || p.handover == arrange.out + x_bytes && arrange.flags == p.handover);
    let handover = u64::from(arrange.num_flags) * (4 + 64 * u64::from(tile));
    assert!(x_bytes + handover <= fake.workspace_bytes);
    assert!(p.num_stages >= 2 && launch.shared_bytes <= fake.chip.max_shared_bytes);
}

#[test]
fn tiles_of_warpgroups_cover_everything() {
    let shapes = [(6144, 4096), (4096, 14336), (28672, 4096), (128_256, 4096), (16, 64), (80, 128)];
    for chip in [HOPPER, Chip { num_sms: 4, clusters_of_4: 1, ..HOPPER }] {
        for n in [17, 33, 64, 100, 129, 192, 256, 257, 2048, 5000] {
            for (rows, cols) in shapes {
                let fake = Fake::new(chip, PACKED);
                let launches = plan_on(&fake, &matmul(n, rows, cols, Epilogue::Store));
                launches.chunks(2).for_each(|pair| check_pair(&fake, pair, rows, cols));
                let tokens = launches.iter().step_by(2).map(params::<ArrangeParams>);
                assert_eq!(tokens.map(|arrange| arrange.num_tokens).sum::<u32>(), n);
            }
        }
    }
}

#[test]
fn a_small_workspace_is_arranged_in_parts() {
    let mut fake = Fake::new(HOPPER, PACKED);
    let op = matmul(600, 512, 256, Epilogue::Store);
    for (room, parts) in [(300, [256, 256, 88].as_slice()), (250, &[224, 224, 152])] {
        fake.workspace_bytes = room * 256 * 2;
        let launches = plan_on(&fake, &with_norm(op));
        let tokens = launches.iter().step_by(2).map(params::<ArrangeParams>);
        assert_eq!(tokens.map(|arrange| arrange.num_tokens).collect::<Vec<_>>(), parts);
    }
    fake.workspace_bytes = 31 * 256 * 2;
    assert_eq!(kernels(&fake, &op), ["gemm_any"]);
}

#[test]
fn products_of_an_8b_model_take_what_measured_fastest() {
    let fake = Fake { workspace_bytes: 64 << 20, ..Fake::new(HOPPER, PACKED) };
    let (alone, weight, x) = (SHARES_NOTHING, SHARES_WEIGHT, SHARES_X);
    for (n, [rows, cols], kernel, shares, halves) in [
        (17, [4096, 14336], (32, 4, 9), alone, false),
        (32, [28672, 4096], (32, 1, 14), alone, false),
        (64, [6144, 4096], (64, 4, 13), alone, false),
        (64, [4096, 4096], (64, 4, 9), alone, false),
        (64, [28672, 4096], (64, 1, 14), alone, false),
        (64, [4096, 14336], (64, 4, 9), alone, false),
        (128, [28672, 4096], (128, 1, 14), alone, false),
        (192, [28672, 4096], (192, 2, 7), x, false),
        (256, [6144, 4096], (128, 2, 12), weight, true),
        (256, [4096, 4096], (128, 2, 8), weight, true),
        (256, [28672, 4096], (128, 2, 16), weight, false),
        (256, [4096, 14336], (128, 2, 8), weight, true),
        (512, [4096, 4096], (128, 2, 8), weight, false),
        (512, [28672, 4096], (256, 2, 8), x, false),
    ] {
        let launch = &plan_on(&fake, &matmul(n, rows, cols, Epilogue::Store))[1];
        let p: GemmWgmmaParams = params(launch);
        let found = (wgmma_tokens(launch), launch.cluster, p.height);
        let found = (found, p.shares, p.handover != 0);
        assert_eq!(found, (kernel, shares, halves), "{n} {rows}x{cols}");
    }
}

#[test]
fn sums_are_handed_over_only_where_the_workspace_holds_them() {
    let mut fake = Fake::new(HOPPER, PACKED);
    let x_bytes = 256 * 14336 * 2;
    for (more, halves) in [(0, false), (4 << 20, false), (5 << 20, true)] {
        fake.workspace_bytes = x_bytes + more;
        let launches = plan_on(&fake, &matmul(256, 4096, 14336, Epilogue::Add));
        check_pair(&fake, &launches, 4096, 14336);
        assert_eq!(params::<GemmWgmmaParams>(&launches[1]).handover != 0, halves, "{more}");
    }
}

#[test]
fn clusters_are_no_more_than_run_at_the_same_time() {
    for (clusters_of_4, cluster, height) in [(33, 4, 8), (30, 4, 9), (28, 4, 10), (9, 2, 4)] {
        let fake = Fake::new(Chip { clusters_of_4, ..HOPPER }, PACKED);
        let launch = &plan_on(&fake, &matmul(64, 4096, 14336, Epilogue::Store))[1];
        let found = (launch.cluster, params::<GemmWgmmaParams>(launch).height);
        assert_eq!(found, (cluster, height), "{clusters_of_4}: {launch:?}");
    }
}
