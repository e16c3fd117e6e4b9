//! Every kernel, dtype and SIMD level against f64 loops.

use rayon::ThreadPoolBuilder;
use tintype_ops::{SharedBytes, WeightPiece, WeightRole, WeightSource};

use super::*;

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

/// Deterministic values in ±1.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn encode(values: &[f32], dtype: DType) -> Vec<u8> {
    let bytes = values.iter().flat_map(|value| match dtype {
        DType::F16 => f16::from_f32(*value).to_le_bytes().to_vec(),
        DType::Bf16 => bf16::from_f32(*value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    });
    bytes.collect()
}

/// `values` as a weight in pieces of the given heights.
fn store(values: &[f32], cols: usize, dtype: DType, heights: &[usize]) -> WeightStore {
    let mut rest = values;
    let pieces = heights.iter().map(|rows| {
        let (piece, below) = rest.split_at(rows * cols);
        rest = below;
        WeightPiece { rows: *rows as u32, bytes: SharedBytes::new(encode(piece, dtype)) }
    });
    let source = WeightSource::new(pieces.collect(), cols as u32, dtype, WeightRole::Plain);
    WeightStore::new(source.expect("valid")).expect("loads")
}

fn product(simd: Simd, x: &[f32], n: usize, w: &WeightStore, rows: Range<usize>) -> Vec<f32> {
    let mut y_t = vec![f32::NAN; rows.len() * n];
    matmul_t(simd, x, n, w, rows, &mut y_t, &mut MatmulScratch::default());
    y_t
}

/// Compares with f64 loops over the same stored weights.
fn check(simd: Simd, dtype: DType, n: usize, cols: usize, heights: &[usize], rows: Range<usize>) {
    let values = noise(heights.iter().sum::<usize>() * cols, 1);
    let w = store(&values, cols, dtype, heights);
    let x = noise(n * cols, 2);
    let y_t = product(simd, &x, n, &w, rows.clone());
    let mut row = vec![0.0; cols];
    for (r, y) in rows.zip(y_t.chunks_exact(n)) {
        w.read_row(r, &mut row);
        for (t, y) in y.iter().enumerate() {
            let x = &x[t * cols..][..cols];
            let products = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
            let error = (f64::from(*y) - products.sum::<f64>()).abs();
            let name = simd.name();
            assert!(error < 1e-6 * cols as f64, "{name} {dtype} n={n} cols={cols}: [{r}][{t}]");
        }
    }
}

#[test]
fn products_agree_with_f64() {
    for simd in Simd::all() {
        for dtype in DTYPES {
            for n in (1..=19).chain([31, 32, 33, 65]) {
                check(simd, dtype, n, 77, &[13], 0..13);
            }
            for cols in [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257, 600] {
                check(simd, dtype, 1, cols, &[9], 0..9);
                check(simd, dtype, 5, cols, &[9], 0..9);
                check(simd, dtype, 18, cols, &[9], 0..9);
            }
        }
    }
}

#[test]
fn any_rows_of_any_pieces_are_found() {
    for simd in Simd::all() {
        for dtype in DTYPES {
            for n in [1, 8, 20] {
                for rows in [0..1, 0..250, 3..4, 5..131, 6..7, 140..250] {
                    check(simd, dtype, n, 19, &[5, 1, 134, 110], rows);
                }
            }
        }
    }
}

#[test]
fn no_row_and_no_token_is_no_work() {
    let w = store(&noise(12, 1), 3, DType::F32, &[4]);
    assert!(product(Simd::detect(), &[], 0, &w, 0..4).is_empty());
    assert!(product(Simd::detect(), &[1.0; 3], 1, &w, 2..2).is_empty());
}

/// Each token alone must give the same bits as among others, within a kernel; and padding with
/// any content must change nothing.
#[test]
fn a_token_does_not_depend_on_its_neighbours() {
    let (cols, rows) = (530, 40);
    let w = store(&noise(rows * cols, 3), cols, DType::Bf16, &[rows]);
    for simd in Simd::all() {
        for n in [1, 2, 3, 8, 11, 16, 17, 40] {
            let mut x = noise(n * cols, 4);
            let expected = product(simd, &x, n, &w, 0..rows);
            x[cols..].fill(f32::NAN);
            let found = product(simd, &x, n, &w, 0..rows);
            for r in 0..rows {
                assert_eq!(found[r * n].to_bits(), expected[r * n].to_bits(), "n={n}");
            }
        }
        let x = noise(16 * cols, 5);
        let together = product(simd, &x, 16, &w, 0..rows);
        for t in 0..16 {
            let alone = product(simd, &x[t * cols..][..cols], 1, &w, 0..rows);
            for r in 0..rows {
                assert_eq!(alone[r].to_bits(), together[r * 16 + t].to_bits(), "token {t}");
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let (cols, rows) = (257, 301);
    for dtype in DTYPES {
        let w = store(&noise(rows * cols, 6), cols, dtype, &[rows - 7, 7]);
        for simd in Simd::all() {
            for n in [1, 8, 13, 50] {
                let x = noise(n * cols, 7);
                let on = |threads| {
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
                    pool.expect("threads").install(|| product(simd, &x, n, &w, 1..rows))
                };
                let expected = on(1);
                assert!(expected == on(2) && expected == on(5), "{} {dtype} n={n}", simd.name());
            }
        }
    }
}

/// A weight of 1 at a column picks out `x`; any other value shows what the kernel made of it.
#[test]
fn every_16_bit_weight_is_converted_exactly() {
    let picks = |dtype: DType, to_f32: fn(u16) -> f32, n: usize, simd: Simd| {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let bytes = SharedBytes::new(bytemuck::cast_slice(&bits).to_vec());
        let piece = WeightPiece { rows: 1 << 16, bytes };
        let source = WeightSource::new(vec![piece], 1, dtype, WeightRole::Plain);
        let w = WeightStore::new(source.expect("valid")).expect("loads");
        let y_t = product(simd, &vec![1.0; n], n, &w, 0..1 << 16);
        for (bits, y) in bits.iter().zip(y_t.chunks_exact(n)) {
            let expected = to_f32(*bits);
            for y in y {
                let same = *y == expected || (y.is_nan() && expected.is_nan());
                assert!(same, "{dtype} {bits:#x}: {y}, expected {expected} ({})", simd.name());
            }
        }
    };
    for simd in Simd::all() {
        for n in [1, 17] {
            picks(DType::F16, |bits| f16::from_bits(bits).to_f32(), n, simd);
            picks(DType::Bf16, |bits| bf16::from_bits(bits).to_f32(), n, simd);
        }
    }
}

/// Special values in the middle of a row, where whole steps are read.
#[test]
fn special_weights_propagate() {
    let cols = 96;
    for simd in Simd::all() {
        for dtype in DTYPES {
            for col in [0, 1, 31, 50, 95] {
                for special in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 6e-8, 1e-6] {
                    let mut values = vec![0.0; 3 * cols];
                    values[cols + col] = special;
                    let w = store(&values, cols, dtype, &[3]);
                    let mut stored = vec![0.0; cols];
                    w.read_row(1, &mut stored);
                    for n in [1, 4, 17] {
                        let y_t = product(simd, &vec![1.0; n * cols], n, &w, 0..3);
                        let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                        let found = bits(&y_t[n..2 * n]);
                        let nan = special.is_nan() && y_t[n..2 * n].iter().all(|y| y.is_nan());
                        assert!(nan || found == bits(&vec![stored[col]; n]), "{dtype} {special}");
                        assert!(y_t[..n].iter().chain(&y_t[2 * n..]).all(|y| *y == 0.0));
                    }
                }
            }
        }
    }
}
