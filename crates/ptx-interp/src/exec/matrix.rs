//! `mma.sync`, `ldmatrix`, `stmatrix` and `movmatrix`: all lanes of a warp together.

use super::memory_access::{Access, Lines};
use super::{Executor, Flow};
use crate::Fault;
use crate::lanes::Slot;
use crate::ldmatrix::{self, Row};
use crate::mma::{Fragment, Shape};

/// `mma.sync.aligned.m16n8k*.row.col.f32`
#[derive(Debug)]
pub(crate) struct Multiply {
    pub(crate) shape: Shape,
    pub(crate) a: Vec<Slot<u32>>,
    pub(crate) b: Vec<Slot<u32>>,
    pub(crate) c: [Slot<u32>; 4],
    pub(crate) dst: [Slot<u32>; 4],
}

/// `ldmatrix` and `stmatrix`: lane l of `access` gives the address of row l % 8 of matrix l / 8.
#[derive(Debug)]
pub(crate) struct MoveMatrices {
    pub(crate) access: Access,
    pub(crate) transposed: bool,
    /// One register for each matrix.
    pub(crate) registers: Vec<Slot<u32>>,
}

impl MoveMatrices {
    /// The lanes whose addresses count.
    fn rows(&self) -> u32 {
        !0 >> (32 - 8 * self.registers.len())
    }
}

impl Executor<'_, '_> {
    /// `mma.sync`
    pub(super) fn multiply(&mut self, op: &Multiply, active: u32) -> Result<Flow, Fault> {
        if let Some(flow) = self.gather(!0, active) {
            return Ok(flow);
        }
        self.check_full(active, "mma.sync")?;
        let mut defined = !0;
        for slot in op.a.iter().chain(&op.b).chain(&op.c) {
            defined &= self.warp.registers.defined(*slot);
        }
        let c = op.c.map(|slot| *self.warp.registers.get(slot));
        let d = op.shape.multiply(&self.fragments(&op.a), &self.fragments(&op.b), &c);
        for (slot, value) in op.dst.iter().zip(&d) {
            // Every element of D depends on registers of many lanes.
            self.write(*slot, active, value, if defined == !0 { !0 } else { 0 });
        }
        Ok(Flow::Next)
    }

    fn fragments(&self, slots: &[Slot<u32>]) -> Vec<Fragment> {
        slots.iter().map(|slot| *self.warp.registers.get(*slot)).collect()
    }

    /// `ldmatrix`
    pub(super) fn load_matrices(&mut self, op: &MoveMatrices, active: u32) -> Result<Flow, Fault> {
        if let Some(flow) = self.gather(!0, active) {
            return Ok(flow);
        }
        self.check_full(active, "ldmatrix")?;
        let mut lines = Lines { words: [[0; 4]; 32], defined: [!0; 4] };
        self.read_lines(&op.access, op.rows(), &mut lines)?;
        let registers: Vec<_> = op.registers.iter().map(|slot| slot.register()).collect();
        self.watch(&op.access, op.rows(), &registers)?;
        for (at, slot) in op.registers.iter().enumerate() {
            let rows = std::array::from_fn(|row| row_of(&lines.words[8 * at + row]));
            let written = |word: &u32| word >> (8 * at) & 0xff == 0xff;
            let defined = if lines.defined.iter().all(written) { !0 } else { 0 };
            self.write(*slot, active, &ldmatrix::load(&rows, op.transposed), defined);
        }
        Ok(Flow::Next)
    }

    /// `stmatrix`
    pub(super) fn store_matrices(&mut self, op: &MoveMatrices, active: u32) -> Result<Flow, Fault> {
        if let Some(flow) = self.gather(!0, active) {
            return Ok(flow);
        }
        self.check_full(active, "stmatrix")?;
        let mut lines = Lines { words: [[0; 4]; 32], defined: [!0; 4] };
        for (at, slot) in op.registers.iter().enumerate() {
            let rows = ldmatrix::store(self.warp.registers.get(*slot), op.transposed);
            for (row, words) in rows.iter().zip(&mut lines.words[8 * at..]) {
                *words = words_of(row);
            }
            if self.warp.registers.defined(*slot) != !0 {
                lines.defined.iter_mut().for_each(|mask| *mask &= !(0xff << (8 * at)));
            }
        }
        self.write_lines(&op.access, op.rows(), &lines)?;
        Ok(Flow::Next)
    }

    /// `movmatrix`
    pub(super) fn transpose_matrix(
        &mut self,
        dst: Slot<u32>,
        source: Slot<u32>,
        active: u32,
    ) -> Result<Flow, Fault> {
        if let Some(flow) = self.gather(!0, active) {
            return Ok(flow);
        }
        self.check_full(active, "movmatrix")?;
        let rows = ldmatrix::store(self.warp.registers.get(source), false);
        let defined = if self.warp.registers.defined(source) == !0 { !0 } else { 0 };
        self.write(dst, active, &ldmatrix::load(&rows, true), defined);
        Ok(Flow::Next)
    }

    /// Fails if lanes of the warp have exited or never existed.
    fn check_full(&self, active: u32, what: &str) -> Result<(), Fault> {
        if active == !0 {
            return Ok(());
        }
        let message = format!("{what} with {} lanes, expected all 32", active.count_ones());
        Err(Fault::new(crate::FaultKind::DivergentSync, message))
    }
}

fn row_of(words: &[u32; 4]) -> Row {
    std::array::from_fn(|i| (words[i / 2] >> (16 * (i % 2))) as u16)
}

fn words_of(row: &Row) -> [u32; 4] {
    std::array::from_fn(|i| u32::from(row[2 * i]) | u32::from(row[2 * i + 1]) << 16)
}
