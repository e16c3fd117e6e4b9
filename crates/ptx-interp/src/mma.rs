//! `mma.sync`: one warp multiplies small matrices, D = A × B + C, with f32 accumulation.
//!
//! A is 16×K by rows, B is K×8 by columns, C and D are 16×8. Each lane holds a few elements of
//! each; which ones, the layouts below say (PTX ISA, "Matrix fragments for mma"). With g = lane / 4
//! and t = lane % 4, register i of a lane holds:
//!
//! | | 16-bit types: two neighbours from | tf32: one element |
//! |---|---|---|
//! | A | row g + 8(i % 2), columns 2t + 8(i / 2) | row g + 8(i % 2), column t + 4(i / 2) |
//! | B | rows 2t + 8i, column g | row t + 4i, column g |
//! | C, D | row g + 8(i / 2), column 2t + i % 2 (one f32) | the same |
//!
//! The products of the supported types are exact in f32. They are added in the order of K, then C
//! is added; a tensor core adds them in another order and precision, so compare with a tolerance.

use crate::convert::f16_to_f32;

/// One 32-bit register of all lanes of a warp.
pub(crate) type Fragment = [u32; 32];

/// The type of A's and B's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// Two f16 in each register.
    F16,
    /// Two bf16 in each register.
    Bf16,
    /// One tf32 in each register: an f32 whose low 13 bits are ignored.
    Tf32,
}

/// A shape with its element type: `m16n8k<depth>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The type of A's and B's elements.
    pub(crate) element: Element,
    /// K: 8 or 16 for 16-bit types, 4 or 8 for tf32.
    pub(crate) depth: usize,
}

impl Element {
    /// The value of a 16-bit element.
    pub(crate) fn widen(self, bits: u16) -> f32 {
        match self {
            Self::F16 => from_f16(bits.into()),
            Self::Bf16 | Self::Tf32 => f32::from_bits(u32::from(bits) << 16),
        }
    }
}

const ROWS: usize = 16;
const COLUMNS: usize = 8;
const MAX_DEPTH: usize = 16;

impl Shape {
    /// The shape, if PTX has it (with f32 accumulators) and this interpreter knows it.
    pub(crate) fn new(element: Element, depth: usize) -> Option<Self> {
        let known = match element {
            Element::F16 | Element::Bf16 => matches!(depth, 8 | 16),
            Element::Tf32 => matches!(depth, 4 | 8),
        };
        known.then_some(Self { element, depth })
    }

    /// Elements in a register.
    fn packed(self) -> usize {
        if self.element == Element::Tf32 { 1 } else { 2 }
    }

    /// Registers of A that each lane holds.
    pub(crate) fn num_a_registers(self) -> usize {
        ROWS * self.depth / 32 / self.packed()
    }

    /// Registers of B that each lane holds.
    pub(crate) fn num_b_registers(self) -> usize {
        self.depth * COLUMNS / 32 / self.packed()
    }

    /// D = A × B + C. `a` and `b` hold as many registers as [`Shape::num_a_registers`] and
    /// [`Shape::num_b_registers`] say; C and D are f32 bits.
    pub(crate) fn multiply(
        self,
        a: &[Fragment],
        b: &[Fragment],
        c: &[Fragment; 4],
    ) -> [Fragment; 4] {
        assert_eq!((a.len(), b.len()), (self.num_a_registers(), self.num_b_registers()));
        let a = self.gather_a(a);
        let b = self.gather_b(b);
        let sums = match self.depth {
            16 => product::<16>(&a, &b),
            _ => product::<8>(&a, &b),
        };
        scatter(&sums, c)
    }

    /// A by rows.
    pub(crate) fn gather_a(self, registers: &[Fragment]) -> [[f32; MAX_DEPTH]; ROWS] {
        let mut a = [[0.0; MAX_DEPTH]; ROWS];
        let width = 4 * self.packed();
        for (i, register) in registers.iter().enumerate() {
            let elements = self.unpack(register);
            let rows = &mut a[8 * (i % 2)..][..8];
            for (row, neighbours) in rows.iter_mut().zip(elements.chunks_exact(width)) {
                row[width * (i / 2)..][..width].copy_from_slice(neighbours);
            }
        }
        a
    }

    /// B by rows: `[k][column]`, so that the inner loop runs over neighbours.
    fn gather_b(self, registers: &[Fragment]) -> [[f32; COLUMNS]; MAX_DEPTH] {
        let mut b = [[0.0; COLUMNS]; MAX_DEPTH];
        let width = 4 * self.packed();
        for (i, register) in registers.iter().enumerate() {
            let elements = self.unpack(register);
            let rows = &mut b[width * i..][..width];
            for (column, neighbours) in elements.chunks_exact(width).take(COLUMNS).enumerate() {
                for (row, value) in rows.iter_mut().zip(neighbours) {
                    row[column] = *value;
                }
            }
        }
        b
    }

    /// The elements of a register in the order of the lanes; those of four lanes are neighbours in
    /// a row of A or a column of B. With one element to a register only the first half is used.
    fn unpack(self, register: &Fragment) -> [f32; 64] {
        let mut elements = [0.0; 64];
        let pairs = elements.as_chunks_mut::<2>().0.iter_mut().zip(register);
        match self.element {
            Element::F16 => pairs.for_each(|(pair, bits)| {
                *pair = [from_f16(*bits), from_f16(bits >> 16)];
            }),
            Element::Bf16 => pairs.for_each(|(pair, bits)| {
                *pair = [f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000)];
            }),
            Element::Tf32 => {
                for (element, bits) in elements.iter_mut().zip(register) {
                    *element = f32::from_bits(bits & !0x1fff);
                }
            }
        }
        elements
    }
}

fn from_f16(bits: u32) -> f32 {
    f32::from_bits(f16_to_f32(bits as u16))
}

/// A × B over the first `DEPTH` columns of A: a constant, and a row of sums that stays in vector
/// registers, make this several times as fast.
#[inline(never)]
fn product<const DEPTH: usize>(
    a: &[[f32; MAX_DEPTH]; ROWS],
    b: &[[f32; COLUMNS]; MAX_DEPTH],
) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for row in 0..ROWS {
        let mut sum = [0.0; COLUMNS];
        for k in 0..DEPTH {
            for column in 0..COLUMNS {
                sum[column] += a[row][k] * b[k][column];
            }
        }
        sums[row] = sum;
    }
    sums
}

/// Adds C and deals the sums out to the lanes.
fn scatter(sums: &[[f32; COLUMNS]; ROWS], c: &[Fragment; 4]) -> [Fragment; 4] {
    let mut d = [[0; 32]; 4];
    for (i, (out, addend)) in d.iter_mut().zip(c).enumerate() {
        for lane in 0..32 {
            let sum = sums[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2];
            out[lane] = (sum + f32::from_bits(addend[lane])).to_bits();
        }
    }
    d
}

#[cfg(test)]
mod tests;
