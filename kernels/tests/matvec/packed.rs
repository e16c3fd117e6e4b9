//! Packed weights, streamed through shared memory.

use ptx_interp::Launch;
use tintype_kernels::params::{
    BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32, MatvecPackedParams,
    MatvecParams,
};

use crate::device::Device;
use crate::product::{Case, Layout, Product};

/// `sizeof(Shared<..>)` of the kernels for 8 and for 16 tokens.
const SHARED_BYTES: [u32; 2] = [152_704, 173_696];

fn device(seed: u64) -> Device {
    Device::new("matvec_packed", (9, 0), seed)
}

fn kernel(case: &Case, cluster: usize) -> &'static str {
    let groups = (case.cols / 64).div_ceil(cluster).div_ceil(16);
    match (case.dtypes[2], case.tokens, groups) {
        (F16, ..=8, ..=4) => "matvec_packed_f16_n8_g4",
        (F16, ..=8, _) => "matvec_packed_f16_n8_g8",
        (F16, ..) => "matvec_packed_f16_n16_g4",
        (_, ..=8, ..=4) => "matvec_packed_bf16_n8_g4",
        (_, ..=8, _) => "matvec_packed_bf16_n8_g8",
        _ => "matvec_packed_bf16_n16_g4",
    }
}

/// By `teams` teams of `cluster` blocks.
fn params(product: MatvecParams, cluster: usize) -> MatvecPackedParams {
    MatvecPackedParams { product, cluster: cluster as u32, reserved: 0 }
}

fn launch<'a>(
    device: &'a Device,
    case: &Case,
    params: &'a MatvecPackedParams,
    [teams, cluster]: [usize; 2],
) -> Launch<'a> {
    let grid = [(teams * cluster) as u32, 1];
    Launch {
        cluster: [cluster as u32, 1, 1],
        dynamic_shared_bytes: SHARED_BYTES[usize::from(case.tokens > 8)],
        ..device.launch(kernel(case, cluster), grid, 512, params)
    }
}

fn run(device: &Device, case: Case, way: [usize; 2]) -> Product {
    let product = Product::new(device, case);
    let params = params(product.params(), way[1]);
    device.run_in_order(&[launch(device, &case, &params, way)]);
    product
}

fn check(device: &Device, case: Case, way: [usize; 2]) {
    run(device, case, way).assert_done(device);
}

#[test]
fn any_number_of_tokens() {
    for (seed, tokens) in [(0, 1), (1, 3), (2, 8), (3, 9), (4, 16)] {
        check(&device(seed), Case::packed(tokens, 48, 192), [2, 1]);
    }
}

#[test]
fn more_columns_than_warps_and_fewer() {
    for (seed, cols) in [(1, 64), (2, 1024), (3, 1088), (4, 3136), (5, 4160)] {
        check(&device(seed), Case::packed(2, 32, cols), [1, 1]);
    }
    check(&device(6), Case::packed(11, 32, 3136), [1, 1]);
}

#[test]
fn rings_go_round_many_times() {
    for seed in 0..4 {
        check(&device(seed), Case::packed(3, 16 * 11, 1088), [1, 1]);
    }
}

#[test]
fn clusters_cut_the_columns() {
    for (seed, cluster, tokens) in [(0, 2, 1), (1, 2, 8), (2, 4, 16), (3, 8, 5)] {
        let case = Case { norm: Some(BF16), ..Case::packed(tokens, 48, 1216) };
        check(&device(seed), case, [2, cluster]);
    }
}

#[test]
fn a_cluster_meets_again_for_more_units_than_it_keeps() {
    for seed in 0..2 {
        let case = Case { epilogue: EPILOGUE_ADD, ..Case::packed(13, 16 * 19, 128) };
        check(&device(seed), case, [1, 2]);
    }
}

#[test]
fn norm_bias_and_epilogues() {
    let device = device(1);
    for epilogue in [EPILOGUE_STORE, EPILOGUE_ADD, EPILOGUE_SILU_MUL] {
        for gate_up in [false, true] {
            if epilogue == EPILOGUE_SILU_MUL && !gate_up {
                continue;
            }
            let layout = Layout::Packed { gate_up };
            let (norm, bias) = (Some(BF16), Some(F32));
            let case = Case { epilogue, layout, norm, bias, ..Case::packed(5, 48, 256) };
            for dtypes in [[BF16; 3], [F32, BF16, BF16]] {
                check(&device, Case { dtypes, ..case }, [3, 1]);
            }
            let dtypes = [F16; 3];
            check(&device, Case { dtypes, norm: None, ..case }, [3, 1]);
        }
    }
}

#[test]
fn f16_takes_every_size() {
    for (tokens, cols) in [(8, 1088), (2, 4160), (16, 1088)] {
        check(&device(1), Case { dtypes: [F16; 3], ..Case::packed(tokens, 32, cols) }, [2, 1]);
    }
}

#[test]
fn rows_of_x_may_lie_apart() {
    check(&device(1), Case::packed(4, 32, 192).apart(8), [1, 1]);
}

#[test]
fn the_order_of_execution_does_not_show() {
    let case = Case { norm: Some(BF16), ..Case::packed(9, 96, 1216) };
    for way in [[2, 1], [2, 2]] {
        let result = |seed| {
            let device = device(seed);
            run(&device, case, way).result(&device)
        };
        let first = result(0);
        (1..4).for_each(|seed| assert_eq!(result(seed), first, "seed {seed}"));
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let device = device(1);
    let case = Case { norm: Some(BF16), ..Case::packed(6, 32, 320) };
    let product = run(&device, case, [2, 1]);
    let whole = product.result(&device);
    let zeros = vec![0; 320 * 2];
    for token in [0, 1, 2, 4, 5] {
        let row = product.x.view.address + u64::from(product.x.view.stride) * token * 2;
        let view = tintype_kernels::params::View { address: row, ..product.x.view };
        device.write_bytes(view, &zeros);
    }
    let params = params(product.params(), 1);
    device.run_in_order(&[launch(&device, &case, &params, [2, 1])]);
    assert_eq!(product.result(&device)[3 * 32..4 * 32], whole[3 * 32..4 * 32]);
}

#[test]
fn x_is_read_after_the_kernel_in_front_has_written_it() {
    for seed in 0..3 {
        let device = device(seed);
        let first = Case::packed(2, 64, 128);
        let second = Case::packed(2, 32, 64);
        let (front, back) = (Product::new(&device, first), Product::new(&device, second));
        let front_params = params(MatvecParams { out: back.x.view, ..front.params() }, 1);
        let back_params = params(back.params(), 1);
        let launches = [
            launch(&device, &first, &front_params, [2, 1]),
            launch(&device, &second, &back_params, [2, 1]),
        ];
        device.run_in_order(&launches);
        let chained = back.result(&device);
        device.run_in_order(&launches[..1]);
        device.run_in_order(&launches[1..]);
        assert_eq!(chained, back.result(&device), "seed {seed}");
        assert_ne!(chained, back.expected(), "the first product changed x");
    }
}
