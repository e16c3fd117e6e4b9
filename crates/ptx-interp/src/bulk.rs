//! Asynchronous copies that were issued and whose completion nobody has waited for: `cp.async` and
//! `cp.async.bulk`.
//!
//! Such a copy may read and write at any time between its issue and the wait. Two things make
//! wrong assumptions show. [`Landing`] moves a copy's bytes either at its issue or as late as is
//! legal. And whenever they move, [`Marks`] keeps the words of shared memory that the copy reads or
//! writes marked until its completion was waited for, so that touching them earlier is a fault in
//! any order of execution.

use std::collections::VecDeque;

/// When a copy's bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// At the issue: shows a buffer refilled while its old contents are still needed.
    Early,
    /// Not before somebody waits: shows a missing wait.
    Late,
}

impl Landing {
    /// The choice for a copy: `random` is any number, the same for the same seed. `None`, for
    /// program order, is late.
    pub(crate) fn choose(random: Option<u64>) -> Self {
        match random {
            Some(random) if random % 2 == 1 => Self::Early,
            _ => Self::Late,
        }
    }
}

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
    pub(crate) fn due_for_reading(&self, pending: usize) -> impl Iterator<Item = &Copy> {
        let due = self.committed.len().saturating_sub(pending);
        self.committed.iter().take(due).flatten()
    }

    /// Marks the copies that [`Groups::due_for_reading`] names as landed.
    pub(crate) fn set_landed(&mut self, pending: usize) {
        let due = self.committed.len().saturating_sub(pending);
        for copy in self.committed.iter_mut().take(due).flatten() {
            copy.landed = true;
        }
    }

    /// `wait_all`, or the end of the thread: takes every copy, committed or not.
    pub(crate) fn take_all(&mut self) -> Vec<Copy> {
        self.commit();
        self.wait(0)
    }
}

/// Marks on the 4-byte words of a block's shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    words: Vec<u8>,
}

impl Marks {
    /// A copy in flight writes the word.
    pub(crate) const WRITTEN: u8 = 1;
    /// A bulk copy in flight reads the word.
    pub(crate) const READ: u8 = 2;
    /// The word was the target of a bulk copy before: loads from it are watched for refills.
    pub(crate) const SLOT: u8 = 4;
    /// The word is part of an mbarrier object.
    pub(crate) const MBARRIER: u8 = 8;

    /// No mark on any of `bytes` bytes.
    pub(crate) fn new(bytes: u32) -> Self {
        Self { words: vec![0; bytes.div_ceil(4) as usize] }
    }

    /// All marks on the words that the range touches. The range lies in the memory.
    #[inline]
    pub(crate) fn of(&self, offset: u32, bytes: u32) -> u8 {
        self.words[range(offset, bytes)].iter().fold(0, |all, mark| all | mark)
    }

    /// Adds `mark` to every word that the range touches.
    pub(crate) fn set(&mut self, offset: u32, bytes: u32, mark: u8) {
        self.words[range(offset, bytes)].iter_mut().for_each(|word| *word |= mark);
    }

    /// Takes `mark` from every word that the range touches.
    pub(crate) fn clear(&mut self, offset: u32, bytes: u32, mark: u8) {
        self.words[range(offset, bytes)].iter_mut().for_each(|word| *word &= !mark);
    }
}

fn range(offset: u32, bytes: u32) -> std::ops::Range<usize> {
    (offset / 4) as usize..(offset + bytes).div_ceil(4) as usize
}

/// Loads from bulk-copy slots whose results no instruction of the warp has used yet.
///
/// On the hardware such a load may still be on its way when the next bulk copy lands in the slot,
/// and then returns the newer bytes. A use of any of its registers ends that, for the warp's
/// registers arrive together; so does an instruction that orders the lane's earlier loads (a
/// barrier, an arrival, a proxy fence). Copying a register to another does not count as a use: the
/// assembler gives both the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnusedLoads {
    loads: Vec<UnusedLoad>,
}

#[derive(Clone, Debug)]
struct UnusedLoad {
    registers: Vec<u32>,
    /// Bytes per lane: block rank, offset and length of each lane that loaded.
    ranges: Vec<(u32, u32, u32)>,
    /// Lanes that nothing has ordered yet.
    lanes: u32,
    line: u32,
}

impl UnusedLoads {
    /// Whether there are none: the common case, to be asked first.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.loads.is_empty()
    }

    /// A load into `registers`; `ranges` are the (block rank, offset, bytes) read by `lanes`.
    pub(crate) fn load(
        &mut self,
        registers: Vec<u32>,
        ranges: Vec<(u32, u32, u32)>,
        lanes: u32,
        line: u32,
    ) {
        self.loads.push(UnusedLoad { registers, ranges, lanes, line });
    }

    /// An instruction reads or overwrites `register`.
    pub(crate) fn touch(&mut self, register: u32) {
        self.loads.retain(|load| !load.registers.contains(&register));
    }

    /// `mov` copies `from` to `to`: the load is used when either is.
    pub(crate) fn copy(&mut self, from: u32, to: u32) {
        for load in self.loads.iter_mut().filter(|load| load.registers.contains(&from)) {
            load.registers.push(to);
        }
    }

    /// `lanes` executed something that orders their earlier loads before what follows.
    pub(crate) fn order(&mut self, lanes: u32) {
        for load in &mut self.loads {
            load.lanes &= !lanes;
        }
        self.loads.retain(|load| load.lanes != 0);
    }

    /// The PTX line of a load that reads any of the bytes and is not used yet.
    pub(crate) fn overlapping(&self, rank: u32, offset: u32, bytes: u32) -> Option<u32> {
        let overlaps = |&(block, start, len): &(u32, u32, u32)| {
            block == rank && start < offset + bytes && offset < start + len
        };
        self.loads.iter().find(|load| load.ranges.iter().any(overlaps)).map(|load| load.line)
    }
}

#[cfg(test)]
mod tests;
