//! Asynchronous copies that were issued and whose completion nobody has waited for: `cp.async` and
//! `cp.async.bulk`.
//!
//! Such a copy may read and write at any time between its issue and the wait. Two things make
//! wrong assumptions show. Its bytes move either at its issue or as late as is legal, by seed. And
//! whenever they move, the words of shared memory that the copy reads or writes stay marked until
//! its completion was waited for, so that touching them earlier is a fault in any order.

use std::collections::VecDeque;

use crate::lanes::Register;

/// An address that a copy reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Global memory.
    Global(u64),
    /// Shared memory of the block with rank `rank` in the cluster.
    Shared {
        /// Rank of the block.
        rank: u32,
        /// Byte offset.
        offset: u32,
    },
}

/// One copy. Source and destination do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Where the bytes come from.
    pub(crate) source: Place,
    /// Where they go.
    pub(crate) destination: Place,
    /// Bytes written.
    pub(crate) bytes: u32,
    /// Bytes read; zeros fill the rest.
    pub(crate) source_bytes: u32,
    /// PTX line of the instruction that issued it.
    pub(crate) line: u32,
    /// Whether the bytes have moved already.
    pub(crate) landed: bool,
}

/// What happens when all copies of a [`Flight`] have landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// `mbarrier::complete_tx::bytes` of that many bytes.
    CompleteBytes(u32),
    /// An arrival (`cp.async.mbarrier.arrive`).
    Arrive,
}

/// Copies whose completion an mbarrier announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    /// The copies; none if an arrival had nothing to wait for.
    pub(crate) copies: Vec<Copy>,
    /// The block of the cluster and the offset in its shared memory where the mbarrier lies.
    pub(crate) mbarrier: (u32, u32),
    /// What the mbarrier is told.
    pub(crate) signal: Signal,
    /// Who issued it: index of the thread in the cluster.
    pub(crate) thread: u32,
}

/// Copies of one thread that it waits for in groups: `commit_group`, `wait_group`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    open: Vec<Copy>,
    committed: VecDeque<Vec<Copy>>,
}

impl Groups {
    /// Adds a copy to the group that the next commit closes.
    pub(crate) fn issue(&mut self, copy: Copy) {
        self.open.push(copy);
    }

    /// `commit_group`: closes the group, which may be empty.
    pub(crate) fn commit(&mut self) {
        self.committed.push_back(std::mem::take(&mut self.open));
    }

    /// `wait_group n`: takes the copies of all groups but the `pending` youngest, oldest first.
    pub(crate) fn wait(&mut self, pending: usize) -> Vec<Copy> {
        let due = self.committed.len().saturating_sub(pending);
        self.committed.drain(..due).flatten().collect()
    }

    /// `wait_group.read n`: the copies that [`Groups::wait`] would take, which stay.
    pub(crate) fn due(&mut self, pending: usize) -> impl Iterator<Item = &mut Copy> {
        let due = self.committed.len().saturating_sub(pending);
        self.committed.iter_mut().take(due).flatten()
    }

    /// All copies, committed or not.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Copy> {
        self.committed.iter_mut().flatten().chain(&mut self.open)
    }

    /// `wait_all`, or the end of the thread: takes every copy, committed or not.
    pub(crate) fn take_all(&mut self) -> Vec<Copy> {
        self.commit();
        self.wait(0)
    }
}

/// Loads from memory that bulk copies fill, whose results no instruction of the warp has used yet.
///
/// On the hardware such a load may still be on its way when the next bulk copy lands in the same
/// memory, and then returns the newer bytes. A use of any of its registers before the copy ends
/// that, for the warp's registers arrive together; so does an instruction that orders the lane's
/// earlier loads (a barrier, an arrival, a proxy fence). Copying a register to another does not
/// count as a use: the assembler gives both the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnusedLoads {
    loads: Vec<UnusedLoad>,
}

#[derive(Clone, Debug)]
struct UnusedLoad {
    registers: Vec<Register>,
    /// What each lane read that nothing has ordered yet.
    pieces: Vec<Piece>,
    /// PTX line of the load.
    line: u32,
    /// PTX line of a bulk copy into what was read: the registers may hold the newer bytes.
    refill: Option<u32>,
}

/// Bytes of shared memory that a lane read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) lane: u32,
    /// Rank of the block in whose memory they lie.
    pub(crate) rank: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// A use of a value that may be newer than its load: the lines of the load and of the bulk copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overtaken {
    pub(crate) load: u32,
    pub(crate) refill: u32,
}

impl UnusedLoads {
    /// Whether there are none: the common case, to be asked first.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.loads.is_empty()
    }

    /// A load of `pieces` into `registers`.
    pub(crate) fn load(&mut self, registers: Vec<Register>, pieces: Vec<Piece>, line: u32) {
        self.loads.push(UnusedLoad { registers, pieces, line, refill: None });
    }

    /// An instruction reads `register`: if the load of its value was overtaken, an error.
    pub(crate) fn read(&mut self, register: Register) -> Result<(), Overtaken> {
        let loads = self.loads.iter().filter(|load| load.registers.contains(&register));
        if let Some((load, refill)) = loads.filter_map(|load| Some((load, load.refill?))).next() {
            return Err(Overtaken { load: load.line, refill });
        }
        self.loads.retain(|load| !load.registers.contains(&register));
        Ok(())
    }

    /// An instruction overwrites `register`, for which it waits for the load; one that was
    /// overtaken is no concern of that register any more.
    pub(crate) fn overwrite(&mut self, register: Register) {
        self.loads.retain(|load| load.refill.is_some() || !load.registers.contains(&register));
        for load in &mut self.loads {
            load.registers.retain(|own| *own != register);
        }
    }

    /// `mov` from `sources` to `targets`: what holds for the sources holds for the targets.
    pub(crate) fn rename(&mut self, sources: &[Register], targets: &[Register]) {
        for target in targets.iter().filter(|target| !sources.contains(target)) {
            self.overwrite(*target);
        }
        for load in &mut self.loads {
            if sources.iter().any(|source| load.registers.contains(source)) {
                load.registers.extend(targets);
            }
        }
    }

    /// `lanes` executed something that orders their earlier loads before what follows.
    pub(crate) fn order(&mut self, lanes: u32) {
        for load in self.loads.iter_mut().filter(|load| load.refill.is_none()) {
            load.pieces.retain(|piece| lanes >> piece.lane & 1 == 0);
        }
        self.loads.retain(|load| !load.pieces.is_empty());
    }

    /// A bulk copy in `line` overwrites the bytes: it overtakes the loads from them.
    pub(crate) fn refill(&mut self, rank: u32, offset: u32, bytes: u32, line: u32) {
        let overlaps = |piece: &Piece| {
            let Piece { offset: start, bytes: len, .. } = *piece;
            piece.rank == rank && start < offset + bytes && offset < start + len
        };
        for load in self.loads.iter_mut().filter(|load| load.pieces.iter().any(overlaps)) {
            load.refill.get_or_insert(line);
        }
    }

    /// Forgets all loads.
    pub(crate) fn clear(&mut self) {
        self.loads.clear();
    }
}

#[cfg(test)]
mod tests;
