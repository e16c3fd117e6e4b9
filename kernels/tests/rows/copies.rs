//! `embed` and `gather`: every id, every mix of types, and none of the table beside the row.

use tintype_kernels::params::{BF16, EmbedParams, F16, GatherParams, View};

use crate::device::{ALIGNED, DTYPES, Device, ODD, Placing, encode, noise, on_each_device, round};

const IDS: [i32; 5] = [3, 0, -1, 4, 5];
const TABLE_ROWS: usize = 5;

/// What ends up in the output: the rows, zeros for ids outside.
fn expected(out_dtype: u32, cols: usize, row: impl Fn(usize) -> Vec<f32>) -> Vec<f32> {
    let mut all = Vec::new();
    for id in IDS {
        match usize::try_from(id).ok().filter(|&id| id < TABLE_ROWS) {
            Some(id) => all.extend(row(id).iter().map(|&value| round(out_dtype, value))),
            None => all.extend(vec![0.0; cols]),
        }
    }
    all
}

fn for_each_case(mut test: impl FnMut(u32, u32, usize, Placing)) {
    for from in DTYPES {
        for to in DTYPES {
            for (cols, placing) in [(7, ODD), (24, ALIGNED), (24, ODD), (300, ALIGNED)] {
                test(from, to, cols, placing);
            }
        }
    }
}

#[test]
fn embed_copies_the_row_of_each_id() {
    on_each_device("embed_gather", |device| {
        for_each_case(|from, to, cols, placing| {
            let table = device.floats(from, [TABLE_ROWS, cols], placing, noise(1));
            let out = device.alloc(to, [IDS.len(), cols], placing);
            let params = EmbedParams {
                out,
                ids: device.ints(1, &IDS),
                table: table.view,
                cols: cols as u32,
                table_rows: TABLE_ROWS as u32,
                packed: 0,
                reserved: 0,
            };
            device.run("embed", [IDS.len() as u32, 2], 32, &params);
            let expected = expected(to, cols, |id| table.row(id).to_vec());
            assert_eq!(device.read(out, [IDS.len(), cols]), expected, "{from} to {to}, {cols}");
        });
    });
}

#[test]
fn gather_copies_the_chosen_rows() {
    on_each_device("embed_gather", |device| {
        for_each_case(|from, to, cols, placing| {
            let x = device.floats(from, [TABLE_ROWS, cols], placing, noise(2));
            let out = device.alloc(to, [IDS.len(), cols], placing);
            let params = GatherParams {
                out,
                x: x.view,
                indices: device.ints(1, &IDS),
                cols: cols as u32,
                x_rows: TABLE_ROWS as u32,
            };
            device.run("gather", [IDS.len() as u32, 1], 64, &params);
            let expected = expected(to, cols, |id| x.row(id).to_vec());
            assert_eq!(device.read(out, [IDS.len(), cols]), expected, "{from} to {to}, {cols}");
        });
    });
}

/// Element `(row, col)` of a packed table lies at this byte, see `include/packed.cuh`.
fn packed_offset(cols: usize, row: usize, col: usize) -> usize {
    let (unit, j) = (row / 16, row % 16);
    let (group, in_group) = (col / 64, col % 64);
    let (t, in_lane) = (in_group / 16, in_group % 16);
    let tile = group * 4 + in_lane / 4;
    let lane = j % 8 * 4 + t;
    let register = in_lane % 4 / 2 * 2 + j / 8;
    (unit * (cols / 16) + tile) * 512 + lane * 16 + register * 4 + col % 2 * 2
}

fn packed_table(device: &Device, dtype: u32, rows: usize, cols: usize) -> View {
    let view = device.contiguous(dtype, [rows, cols]);
    let mut bytes = vec![0; rows * cols * 2];
    for row in 0..rows {
        for col in 0..cols {
            let element = encode(dtype, &[noise(3)(row, col)]);
            bytes[packed_offset(cols, row, col)..][..2].copy_from_slice(&element);
        }
    }
    device.write_bytes(view, &bytes);
    view
}

#[test]
fn embed_reads_a_packed_table() {
    const COLS: usize = 128;
    let ids = [31, 0, 9, 32, -7, 20];
    on_each_device("embed_gather", |device| {
        for dtype in [F16, BF16] {
            for (to, placing) in [(dtype, ALIGNED), (dtype, ODD), (DTYPES[0], ALIGNED)] {
                let out = device.alloc(to, [ids.len(), COLS], placing);
                let params = EmbedParams {
                    out,
                    ids: device.ints(1, &ids),
                    table: packed_table(device, dtype, 32, COLS),
                    cols: COLS as u32,
                    table_rows: 32,
                    packed: 1,
                    reserved: 0,
                };
                device.run("embed", [ids.len() as u32, 1], 32, &params);
                let element = |id: i32, col| {
                    let row = usize::try_from(id).ok().filter(|&id| id < 32);
                    row.map_or(0.0, |row| round(dtype, noise(3)(row, col)))
                };
                let expected: Vec<_> =
                    ids.iter().flat_map(|&id| (0..COLS).map(move |col| element(id, col))).collect();
                assert_eq!(device.read(out, [ids.len(), COLS]), expected);
            }
        }
    });
}
