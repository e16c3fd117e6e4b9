//! `ldmatrix` and `stmatrix`: 8×8 matrices of 16-bit elements between shared memory and a warp.
//!
//! Lane l gives the address of row l % 8 of matrix l / 8; each row is 16 bytes. In registers, lane
//! l holds two neighbouring elements of each matrix: row l / 4, columns 2(l % 4) and the next; with
//! `.trans` the same of the transposed matrix.

use crate::mma::Fragment;

/// Eight elements of a matrix, as they lie in memory.
pub(crate) type Row = [u16; 8];

/// What each lane gets of the matrix with these rows.
pub(crate) fn load(rows: &[Row; 8], transposed: bool) -> Fragment {
    std::array::from_fn(|lane| {
        let (row, column) = (lane / 4, lane % 4 * 2);
        let at = |column: usize| {
            u32::from(if transposed { rows[column][row] } else { rows[row][column] })
        };
        at(column) | at(column + 1) << 16
    })
}

/// The rows of the matrix of which the lanes hold `fragment`: the inverse of [`load`].
pub(crate) fn store(fragment: &Fragment, transposed: bool) -> [Row; 8] {
    let mut rows = [[0; 8]; 8];
    for (lane, &pair) in fragment.iter().enumerate() {
        for half in 0..2 {
            let (row, column) = (lane / 4, lane % 4 * 2 + half);
            let value = (pair >> (16 * half)) as u16;
            if transposed {
                rows[column][row] = value;
            } else {
                rows[row][column] = value;
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> [Row; 8] {
        std::array::from_fn(|row| std::array::from_fn(|column| (row * 8 + column) as u16))
    }

    #[test]
    fn a_lane_holds_two_neighbours_of_its_row() {
        let fragment = load(&matrix(), false);
        for (lane, pair) in fragment.into_iter().enumerate() {
            assert_eq!(pair & 0xffff, 2 * lane as u32);
            assert_eq!(pair >> 16, 2 * lane as u32 + 1);
        }
    }

    #[test]
    fn transposed_a_lane_holds_two_neighbours_of_its_column() {
        let fragment = load(&matrix(), true);
        for (lane, pair) in fragment.into_iter().enumerate() {
            let (column, row) = (lane as u32 / 4, lane as u32 % 4 * 2);
            assert_eq!((pair & 0xffff, pair >> 16), (row * 8 + column, (row + 1) * 8 + column));
        }
    }

    #[test]
    fn stores_undo_loads() {
        for transposed in [false, true] {
            assert_eq!(store(&load(&matrix(), transposed), transposed), matrix());
        }
    }
}
