//! `add` and `silu_mul`.

use tintype_kernels::params::{AddParams, SiluMulParams};

use crate::device::{ALIGNED, DTYPES, ODD, Placing, Tensor, assert_close, noise, on_each_device};

const ROWS: usize = 3;
const SHAPES: [(usize, Placing); 4] = [(1, ODD), (40, ALIGNED), (40, ODD), (555, ALIGNED)];

fn for_each_mix(mut test: impl FnMut(u32, u32, usize, Placing)) {
    for to in DTYPES {
        for from in DTYPES {
            SHAPES.iter().for_each(|&(cols, placing)| test(to, from, cols, placing));
        }
    }
}

#[test]
fn add_adds_in_place() {
    on_each_device("elementwise", |device| {
        for_each_mix(|to, from, cols, placing| {
            let out = device.floats(to, [ROWS, cols], placing, noise(1));
            let x = device.floats(from, [ROWS, cols], placing, noise(2));
            let params = AddParams { out: out.view, x: x.view, cols: cols as u32, reserved: 0 };
            device.run("add", [ROWS as u32, 2], 32, &params);
            let expected: Vec<_> = out.values.iter().zip(&x.values).map(|(a, b)| a + b).collect();
            assert_close(to, &device.read(out.view, [ROWS, cols]), &expected, "add");
        });
    });
}

#[test]
fn silu_mul_gates_the_upper_half() {
    let silu = |x: f32| f64::from(x) / (1.0 + (-f64::from(x)).exp());
    on_each_device("elementwise", |device| {
        for_each_mix(|to, from, cols, placing| {
            let out = device.alloc(to, [ROWS, cols], placing);
            let large = |row, col| 20.0 * noise(3)(row, col);
            let gate_up = device.floats(from, [ROWS, 2 * cols], placing, large);
            let params =
                SiluMulParams { out, gate_up: gate_up.view, cols: cols as u32, reserved: 0 };
            device.run("silu_mul", [ROWS as u32, 1], 64, &params);
            let row = |row| {
                let (gate, up) = gate_up.row(row).split_at(cols);
                let products = gate.iter().zip(up).map(|(&g, &u)| (silu(g) * f64::from(u)) as f32);
                products.collect::<Vec<_>>()
            };
            let expected: Vec<_> = (0..ROWS).flat_map(row).collect();
            assert_close(to, &device.read(out, [ROWS, cols]), &expected, "silu_mul");
        });
    });
}

#[test]
fn a_kernel_that_starts_early_waits_for_the_one_in_front() {
    on_each_device("elementwise", |device| {
        let shape = [ROWS, 64];
        let floats = |seed| device.floats(DTYPES[0], shape, ALIGNED, noise(seed));
        let (first, second, third) = (floats(1), floats(2), floats(3));
        let add = |out: &Tensor, x: &Tensor| AddParams {
            out: out.view,
            x: x.view,
            cols: 64,
            reserved: 0,
        };
        let params = [add(&second, &first), add(&third, &second), add(&second, &third)];
        let launches = params.each_ref().map(|p| device.launch("add", [ROWS as u32, 1], 32, p));
        device.run_in_order(&launches);
        let sums = first.values.iter().zip(&second.values).zip(&third.values);
        let expected: Vec<_> = sums.map(|((a, b), c)| 2.0 * (a + b) + c).collect();
        assert_close(DTYPES[0], &device.read(second.view, shape), &expected, "chain");
    });
}
