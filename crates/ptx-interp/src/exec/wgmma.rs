//! `wgmma`: products of four warps, which run on while the warps do something else.
//!
//! A warp's part of a product is one of its own here. It happens at its issue or as late as is
//! legal, by seed, always in order; until the warp has waited for it, its registers and B are not
//! to be touched.

use std::collections::VecDeque;

use super::{Executor, Flow};
use crate::instruction::Op;
use crate::lanes::{Kind, Register, Slot};
use crate::mma::{Element, Fragment};
use crate::wgmma::{Descriptor, PIECE_BYTES, multiply};
use crate::{Fault, FaultKind};

/// Warps that multiply together.
const GROUP: u32 = 4;

/// `wgmma.mma_async.sync.aligned.m64n*k16.f32` with A in registers
#[derive(Debug)]
pub(crate) struct StartProduct {
    pub(crate) element: Element,
    pub(crate) sums: Vec<Slot<u32>>,
    pub(crate) a: [Slot<u32>; 4],
    pub(crate) b: Slot<u64>,
    /// Whether to add to the sums as they are.
    pub(crate) accumulate: Slot<bool>,
}

/// The other instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProductSync {
    /// `wgmma.fence`
    Fence,
    /// `wgmma.commit_group`
    Commit,
    /// `wgmma.wait_group`, with the groups that may stay under way.
    Wait(usize),
}

/// One product under way.
#[derive(Debug, Clone)]
struct Product {
    /// Index of its instruction.
    pc: u32,
    a: [Fragment; 4],
    /// Whether all of A was ever written.
    defined: bool,
    b: Descriptor,
    accumulate: bool,
    landed: bool,
}

/// The products of a warp that it has not waited for, and the registers that it wrote since it last
/// fenced them, by index.
#[derive(Debug, Default)]
pub(crate) struct Products {
    open: Vec<Product>,
    committed: VecDeque<Vec<Product>>,
    unfenced: Vec<bool>,
    /// Products started.
    pub(crate) count: u64,
}

impl Products {
    /// Starts over.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.committed.is_empty()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Product> {
        self.committed.iter_mut().flatten().chain(&mut self.open)
    }

    fn note_write(&mut self, register: &Register) {
        let at = register.index as usize;
        if register.kind == Kind::Word {
            self.unfenced.resize(self.unfenced.len().max(at + 1), false);
            self.unfenced[at] = true;
        }
    }

    fn is_unfenced(&self, slot: Slot<u32>) -> bool {
        self.unfenced.get(slot.register().index as usize).is_some_and(|unfenced| *unfenced)
    }
}

impl StartProduct {
    /// Columns of B.
    fn num_columns(&self) -> u32 {
        self.sums.len() as u32 * 2
    }
}

impl<'e> Executor<'_, 'e> {
    /// `wgmma.fence`, `wgmma.commit_group`, `wgmma.wait_group`
    pub(super) fn product_sync(&mut self, op: ProductSync, active: u32) -> Result<Flow, Fault> {
        if let Some(flow) = self.gather(!0, active) {
            return Ok(flow);
        }
        self.check_group(active)?;
        let products = &mut self.warp.products;
        match op {
            ProductSync::Fence => products.unfenced.fill(false),
            ProductSync::Commit => {
                let group = std::mem::take(&mut products.open);
                products.committed.push_back(group);
            }
            ProductSync::Wait(pending) => self.wait_products(pending)?,
        }
        Ok(Flow::Next)
    }

    /// `wgmma.mma_async`
    pub(super) fn start_product(&mut self, op: &StartProduct, active: u32) -> Result<Flow, Fault> {
        if let Some(flow) = self.gather(!0, active) {
            return Ok(flow);
        }
        self.check_group(active)?;
        let mut registers = op.sums.iter().chain(&op.a);
        if registers.any(|slot| self.warp.products.is_unfenced(*slot)) {
            let message = "a product of registers that were written with no wgmma.fence between";
            return Err(Fault::new(FaultKind::MissingFence, message));
        }
        let product = self.product(op, active)?;
        self.touch_b(op, product.b, true)?;
        self.warp.products.open.push(product);
        self.warp.products.count += 1;
        if self.cluster.asynchronous.lands_early() {
            self.land_products();
        }
        Ok(Flow::Next)
    }

    fn product(&self, op: &StartProduct, active: u32) -> Result<Product, Fault> {
        let registers = &self.warp.registers;
        let what = "a descriptor of wgmma";
        let bits = self.read_defined(op.b, active, what)?;
        let accumulate = *self.read_defined(op.accumulate, active, what)?;
        if bits.iter().any(|other| *other != bits[0]) || !matches!(accumulate, 0 | u32::MAX) {
            let message = "lanes of a warp with different operands of one product";
            return Err(Fault::new(FaultKind::InvalidUse, message));
        }
        let b = Descriptor::decode(bits[0]);
        Ok(Product {
            pc: self.pc,
            a: op.a.map(|slot| *registers.get(slot)),
            defined: op.a.iter().all(|slot| registers.defined(*slot) == !0),
            b: b.map_err(|message| Fault::new(FaultKind::InvalidUse, message))?,
            accumulate: accumulate != 0,
            landed: false,
        })
    }

    /// Fails unless all lanes are there, of a warp in a full group of four.
    fn check_group(&self, active: u32) -> Result<(), Fault> {
        let end = (self.warp.index / GROUP + 1) * GROUP * 32;
        if active == !0 && end <= self.env.threads_per_block() {
            return Ok(());
        }
        let lanes = active.count_ones();
        let message = format!("wgmma with {lanes} lanes of a warp, expected 32 of each of 4 warps");
        Err(Fault::new(FaultKind::DivergentSync, message))
    }

    /// A product starts or has ended to read B.
    fn touch_b(&mut self, op: &StartProduct, b: Descriptor, starts: bool) -> Result<(), Fault> {
        let rank = self.block.rank;
        for column in 0..op.num_columns() {
            for half in 0..2 {
                let (shared, who) = self.shared_block(rank, 0, false);
                let offset = b.piece(column, half);
                if starts {
                    shared.start_product(&who, offset, PIECE_BYTES)?;
                } else {
                    shared.complete_product(&who, offset, PIECE_BYTES);
                }
            }
        }
        Ok(())
    }

    fn start_of(&self, pc: u32) -> &'e StartProduct {
        match &self.env.code.instructions[pc as usize].op {
            Op::StartProduct(op) => op,
            _ => unreachable!("products remember their own instruction"),
        }
    }

    /// Computes all products under way, oldest first.
    fn land_products(&mut self) {
        let mut products = std::mem::take(&mut self.warp.products);
        for product in products.all().filter(|product| !product.landed) {
            self.land_product(product);
            product.landed = true;
        }
        self.warp.products = products;
    }

    fn land_product(&mut self, product: &Product) {
        let op = self.start_of(product.pc);
        let shared = &self.shared[self.block.rank as usize];
        let column = |column| {
            let mut bytes = [0; 2 * PIECE_BYTES as usize];
            for (half, bytes) in (0..).zip(bytes.chunks_mut(PIECE_BYTES as usize)) {
                shared.peek(product.b.piece(column, half), bytes);
            }
            let bits = |k: usize| u16::from_le_bytes([bytes[2 * k], bytes[2 * k + 1]]);
            std::array::from_fn(|k| op.element.widen(bits(k)))
        };
        let columns: Vec<[f32; 16]> = (0..op.num_columns()).map(column).collect();
        let registers = &mut self.warp.registers;
        let old =
            |slot: &Slot<u32>| if product.accumulate { *registers.get(*slot) } else { [0; 32] };
        let mut sums: Vec<Fragment> = op.sums.iter().map(old).collect();
        let known = |slot: &Slot<u32>| !product.accumulate || registers.defined(*slot) == !0;
        let defined = product.defined && op.sums.iter().all(known);
        multiply(op.element, &product.a, &columns, &mut sums);
        for (slot, sums) in op.sums.iter().zip(&sums) {
            registers.set(*slot, !0, sums, if defined { !0 } else { 0 });
        }
    }

    /// Waits for all groups but the `pending` youngest.
    fn wait_products(&mut self, pending: usize) -> Result<(), Fault> {
        self.land_products();
        let groups = &mut self.warp.products.committed;
        let due = groups.len().saturating_sub(pending);
        let due: Vec<Product> = groups.drain(..due).flatten().collect();
        for product in due {
            self.touch_b(self.start_of(product.pc), product.b, false)?;
        }
        Ok(())
    }

    /// The instruction is about to use its registers: fails if one belongs to a product under way,
    /// and remembers what it writes.
    pub(super) fn touch_products(&mut self) -> Result<(), Fault> {
        let code = self.env.code;
        let touched = &code.touched[self.pc as usize];
        let op = &code.instructions[self.pc as usize].op;
        if matches!(op, Op::StartProduct(_)) {
            return Ok(());
        }
        if matches!(op, Op::Exit) && !self.warp.products.is_empty() {
            let message = "a warp exits while a product is under way: wgmma.wait_group is missing";
            return Err(Fault::new(FaultKind::MissingWait, message));
        }
        if !self.warp.products.is_empty() {
            self.check_products(&touched.reads, &touched.writes)?;
        }
        touched.writes.iter().for_each(|register| self.warp.products.note_write(register));
        Ok(())
    }

    fn check_products(&mut self, reads: &[Register], writes: &[Register]) -> Result<(), Fault> {
        let pcs: Vec<u32> = self.warp.products.all().map(|product| product.pc).collect();
        let is = |slot: &Slot<u32>, list: &[Register]| {
            let own = slot.register();
            list.iter().any(|other| (other.kind, other.index) == (own.kind, own.index))
        };
        for op in pcs.into_iter().map(|pc| self.start_of(pc)) {
            let what = match () {
                () if op.sums.iter().any(|slot| is(slot, reads)) => "reads a sum",
                () if op.sums.iter().any(|slot| is(slot, writes)) => "writes a sum",
                () if op.a.iter().any(|slot| is(slot, writes)) => "writes a register of A",
                () => continue,
            };
            let message = format!("{what} of a product under way: wgmma.wait_group comes first");
            return Err(Fault::new(FaultKind::MissingWait, message));
        }
        Ok(())
    }
}

/// Fails unless the warps of each group of four have multiplied equally often.
pub(crate) fn check_together(counts: impl Iterator<Item = u64>) -> Result<(), Fault> {
    let counts: Vec<u64> = counts.collect();
    let uneven = |group: &&[u64]| group.iter().any(|count| *count != group[0]);
    match counts.chunks(GROUP as usize).find(uneven) {
        None => Ok(()),
        Some(group) => {
            let message = format!("the warps of a group started {group:?} products, not as many");
            Err(Fault::new(FaultKind::DivergentSync, message))
        }
    }
}
