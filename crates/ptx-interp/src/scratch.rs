//! Registers and shared memory that one launch leaves to the next: fresh pages of memory cost more
//! than many a kernel.

use std::sync::{Mutex, PoisonError};

use crate::exec::shared::Shared;
use crate::lanes::{RegisterCounts, Registers};

/// Most warps and blocks of which something is kept.
const MAX_KEPT: usize = 256;

/// What launches have left.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    registers: Mutex<Vec<Registers>>,
    shared: Mutex<Vec<Shared>>,
}

impl Scratch {
    /// Registers of a warp, of which none is defined.
    pub(crate) fn registers(&self, counts: RegisterCounts) -> Registers {
        let mut registers = take(&self.registers).unwrap_or_default();
        registers.prepare(counts);
        registers
    }

    /// The shared memory of the block whose first warp has that index in its cluster.
    pub(crate) fn shared(&self, bytes: u32, first_warp: usize) -> Shared {
        let mut shared = take(&self.shared).unwrap_or_default();
        shared.prepare(bytes, first_warp);
        shared
    }

    /// Keeps what is not needed any more.
    pub(crate) fn keep(&self, registers: impl Iterator<Item = Registers>, shared: Vec<Shared>) {
        let mut kept = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(registers);
        kept.truncate(MAX_KEPT);
        let mut kept = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(shared);
        kept.truncate(MAX_KEPT);
    }
}

fn take<T>(kept: &Mutex<Vec<T>>) -> Option<T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
}
