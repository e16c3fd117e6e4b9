//! Draws agree with the reference sampler, whatever the filters.

use tintype_kernels::params::{F32, I32, SampleParams as Params, View};
use tintype_ops::sampling::{SampleParams, sample};

use crate::device::{ALIGNED, Device, ODD, Placing, Tensor, noise, on_each_device};

/// What a row is drawn with, from a base that applies no filter.
fn draw(change: impl FnOnce(&mut SampleParams)) -> SampleParams {
    let mut params = SampleParams { temperature: 1.0, seed: [7, 9], ..SampleParams::GREEDY };
    change(&mut params);
    params
}

fn drawn(device: &Device, logits: &Tensor, draws: &[SampleParams], cluster: u32) -> Vec<i32> {
    let out = device.alloc(I32, [logits.rows, 1], ODD);
    let words: &[i32] = bytemuck::cast_slice(draws);
    let params = Params {
        out,
        logits: logits.view,
        params: device.ints(8, words),
        cols: logits.cols as u32,
        reserved: 0,
    };
    device.run_clusters("sample", [logits.rows as u32 * cluster, 1], 64, cluster, &params);
    device.read_ints(out, [logits.rows, 1])
}

/// Draws a token of each row on the device and by the reference.
fn check(device: &Device, logits: &Tensor, draws: &[SampleParams]) {
    let expected: Vec<_> = draws
        .iter()
        .enumerate()
        .map(|(row, draw)| sample(logits.row(row), draw).cast_signed())
        .collect();
    let clusters: &[u32] = if device.is_hopper() { &[1, 2, 8] } else { &[1] };
    for &cluster in clusters {
        assert_eq!(drawn(device, logits, draws, cluster), expected, "{draws:?}");
    }
}

/// One row of logits for each draw, of some size and placing.
fn logits(
    device: &Device,
    rows: usize,
    (cols, placing): (usize, Placing),
    value: impl Fn(usize, usize) -> f32,
) -> Tensor {
    device.floats(F32, [rows, cols], placing, value)
}

const SHAPES: [(usize, Placing); 4] = [(1, ODD), (50, ODD), (333, ALIGNED), (1024, ALIGNED)];

#[test]
fn greedy_takes_the_largest_and_the_lowest_of_equals() {
    on_each_device("sample", |device| {
        for shape in SHAPES {
            let tied = logits(device, 3, shape, |row, col| ((row + col * 3) % 7) as f32 - 3.0);
            check(device, &tied, &[SampleParams::GREEDY; 3]);
            let zeros = logits(device, 1, shape, |_, col| if col % 2 == 0 { -0.0 } else { 0.0 });
            check(device, &zeros, &[SampleParams::GREEDY]);
        }
    });
}

#[test]
fn rows_without_a_number_give_the_first_token() {
    on_each_device("sample", |device| {
        let values = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
        let shape = (40, ODD);
        let rows =
            logits(device, 3, shape, |row, col| if col == 5 { values[row] } else { values[0] });
        check(device, &rows, &[SampleParams::GREEDY; 3]);
        check(device, &rows, &[draw(|p| p.top_p = 0.5); 3]);
    });
}

#[test]
fn each_filter_and_all_together_keep_what_the_reference_keeps() {
    let draws = [
        draw(|_| ()),
        draw(|p| p.temperature = 0.3),
        draw(|p| p.temperature = 7.0),
        draw(|p| p.min_p = 0.1),
        draw(|p| p.top_k = 1),
        draw(|p| p.top_k = 12),
        draw(|p| p.top_k = 100_000),
        draw(|p| p.top_p = 0.0),
        draw(|p| p.top_p = 0.6),
        draw(|p| p.top_p = 0.999),
        draw(|p| (p.top_k, p.top_p, p.min_p) = (20, 0.8, 0.01)),
        draw(|p| (p.temperature, p.top_k, p.top_p) = (1.7, 30, 0.95)),
        SampleParams::GREEDY,
    ];
    on_each_device("sample", |device| {
        for (i, shape) in SHAPES.into_iter().enumerate() {
            for step in [0, 1, 1_000_000] {
                let draws = draws.map(|draw| SampleParams { step, ..draw });
                let value = |row, col| 6.0 * noise(i + step as usize)(row, col);
                check(device, &logits(device, draws.len(), shape, value), &draws);
            }
        }
    });
}

#[test]
fn tokens_as_likely_as_the_last_one_kept_are_kept_too() {
    on_each_device("sample", |device| {
        // Three values, so that every threshold falls among equals; 16 steps, so that a token too
        // many or too few shows.
        let value = |_, col: usize| [2.0, 1.0, f32::NAN, 0.0][col % 4];
        for change in [
            |p: &mut SampleParams| p.top_k = 3,
            |p: &mut SampleParams| p.top_k = 30,
            |p: &mut SampleParams| p.top_p = 0.3,
            |p: &mut SampleParams| p.top_p = 0.9,
        ] {
            let draws: Vec<_> = (0..16).map(|step| SampleParams { step, ..draw(change) }).collect();
            check(device, &logits(device, draws.len(), (64, ALIGNED), value), &draws);
        }
    });
}

#[test]
fn a_row_draws_the_same_in_any_company() {
    on_each_device("sample", |device| {
        let three = logits(device, 3, (256, ALIGNED), noise(4));
        let last = Tensor {
            view: View {
                address: three.view.address + 2 * 4 * u64::from(three.view.stride),
                ..three.view
            },
            rows: 1,
            cols: 256,
            values: three.row(2).to_vec(),
        };
        let draws = [draw(|p| p.top_k = 5), SampleParams::GREEDY, draw(|p| p.seed = [1, 2])];
        let together = drawn(device, &three, &draws, 1);
        assert_eq!(drawn(device, &last, &draws[2..], 1), together[2..]);
    });
}
