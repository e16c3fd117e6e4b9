//! Watches loads from memory that bulk copies fill, until their values are used.

use super::memory_access::{Access, locate};
use super::space::{Space, shared_at};
use super::{Executor, lanes_of};
use crate::bulk::{Overtaken, Piece};
use crate::lanes::Register;
use crate::{Fault, FaultKind};

impl Executor<'_, '_> {
    /// A load of `access` into `registers` is about to write them: remembers what it reads of
    /// memory that a bulk copy may fill again.
    pub(super) fn watch(
        &mut self,
        access: &Access,
        active: u32,
        registers: &[Register],
    ) -> Result<(), Fault> {
        if !self.env.code.has_bulk_copies {
            return Ok(());
        }
        let addresses = self.all_addresses(access, active)?;
        let piece = |lane: usize| {
            let (space, address) = locate(access.space, addresses[lane]);
            let (rank, offset) = shared_at(address as u32, self.block.rank);
            let is_slot = space == Space::Shared && self.shared[rank as usize].is_slot(offset);
            is_slot.then_some(Piece { lane: lane as u32, rank, offset, bytes: access.len })
        };
        let pieces: Vec<_> = lanes_of(active).filter_map(piece).collect();
        if !pieces.is_empty() {
            let line = self.env.code.instructions[self.pc as usize].line;
            self.warp.unused_loads.load(registers.to_vec(), pieces, line);
        }
        Ok(())
    }

    /// The instruction is about to use its registers: fails if one holds what a bulk copy may
    /// have brought after the load.
    #[cold]
    pub(super) fn touch_registers(&mut self) -> Result<(), Fault> {
        let touched = &self.env.code.touched[self.pc as usize];
        let loads = &mut self.warp.unused_loads;
        if touched.renames {
            loads.rename(&touched.reads, &touched.writes);
            return Ok(());
        }
        for register in &touched.reads {
            loads.read(*register).map_err(|Overtaken { load, refill }| {
                let message = format!(
                    "uses what line {load} loaded from shared memory, into which line {refill} \
                     started a bulk copy before any use: the load may have returned the new bytes"
                );
                Fault::new(FaultKind::EarlyRefill, message)
            })?;
        }
        touched.writes.iter().for_each(|register| loads.overwrite(*register));
        Ok(())
    }
}
