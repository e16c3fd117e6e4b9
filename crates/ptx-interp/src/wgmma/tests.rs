//! Where the pieces of B lie, and a product of known numbers.

use super::*;

const BITS: u64 = (1 << 62) | (64 << 32) | (1 << 16);

#[test]
fn pieces_are_swizzled_within_eight_columns() {
    let b = Descriptor::decode(BITS | (2048 / 16)).unwrap();
    assert_eq!(b, Descriptor { start: 2048, stride: 1024 });
    assert_eq!(b.piece(0, 0), 2048);
    assert_eq!(b.piece(0, 1), 2048 + 16);
    assert_eq!(b.piece(1, 0), 2048 + 128 + 16);
    assert_eq!(b.piece(1, 1), 2048 + 128);
    assert_eq!(b.piece(15, 0), 2048 + 1024 + 7 * 128 + 7 * 16);
    // The third 16 elements of each column begin 64 bytes further on.
    let third = Descriptor::decode(BITS | ((2048 + 64) / 16)).unwrap();
    assert_eq!(third.piece(2, 1), 2048 + 2 * 128 + (5 ^ 2) * 16);
}

#[test]
fn other_layouts_are_refused() {
    assert!(Descriptor::decode(BITS & !(1 << 62)).unwrap_err().contains("swizzling 0"));
    assert!(Descriptor::decode(BITS | (1 << 49)).unwrap_err().contains("base offset of 1"));
}

#[test]
fn products_of_bf16() {
    // A[row][k] = row - 3 where k = row % 16, else 0; B[k][column] = k + 2 column.
    let entry = |row: usize, k: usize| if k == row { row as f32 - 3.0 } else { 0.0 };
    let pair = |row: usize, k: usize| {
        entry(row, k).to_bits() >> 16 | entry(row, k + 1).to_bits() & 0xffff_0000
    };
    let a: [Fragment; 4] = std::array::from_fn(|i| {
        std::array::from_fn(|lane| pair(lane / 4 + 8 * (i % 2), lane % 4 * 2 + 8 * (i / 2)))
    });
    let columns: Vec<[f32; 16]> =
        (0..16).map(|column| std::array::from_fn(|k| (k + 2 * column) as f32)).collect();
    let mut sums = vec![[1f32.to_bits(); 32]; 8];
    multiply(Element::Bf16, &a, &columns, &mut sums);
    for (at, sums) in sums.iter().enumerate() {
        for (lane, sum) in sums.iter().enumerate() {
            let row = lane / 4 + 8 * (at % 4 / 2);
            let column = at / 4 * 8 + lane % 4 * 2 + at % 2;
            let expected = 1.0 + (row as f32 - 3.0) * (row + 2 * column) as f32;
            assert_eq!(f32::from_bits(*sum), expected, "row {row}, column {column}");
        }
    }
}
