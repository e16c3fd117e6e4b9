//! The packed order, and the kernel that brings weights into it.

use std::ops::Range;

use tintype_kernels::params::{BF16, PackParams, View};

use crate::device::{Device, Placing, Tensor, noise, on_each_device};
use crate::product::packed;

const ROWS: usize = 48;
const COLS: usize = 128;

fn pack(device: &Device, to: View, weight: &Tensor, gate_up: bool, rows: Range<usize>) {
    let gate_rows = if gate_up { ROWS / 2 } else { 0 };
    let params = PackParams {
        packed: to.address,
        piece: weight.view.address + (rows.start * COLS * 2) as u64,
        first_row: rows.start as u32,
        num_rows: rows.len() as u32,
        cols: COLS as u32,
        gate_rows: gate_rows as u32,
        first_unit: 0,
        num_units: (ROWS / 16) as u32,
    };
    device.run("pack", [2, 1], 256, &params);
}

#[test]
fn pieces_of_any_height_come_to_the_packed_matrix() {
    let pieces: [&[usize]; 3] = [&[0, ROWS], &[0, 24, ROWS], &[0, 5, 21, 47, ROWS]];
    on_each_device("pack", |device| {
        let contiguous = Placing { offset: 0, gap: 0 };
        let weight = device.floats(BF16, [ROWS, COLS], contiguous, noise(1));
        for gate_up in [false, true] {
            for pieces in pieces {
                let to = device.contiguous(BF16, [ROWS, COLS]);
                for rows in pieces.windows(2) {
                    pack(device, to, &weight, gate_up, rows[0]..rows[1]);
                }
                assert_eq!(device.read(to, [ROWS, COLS]), packed(&weight, gate_up), "{pieces:?}");
            }
        }
    });
}
