//! What asynchronous copies and mbarriers do to shared memory.
//!
//! Marks in the upper bits of [`Cell::defined`] say that a copy in flight writes or reads a word,
//! that a bulk copy has written it before, or that an mbarrier lies there.

use super::{Accessor, Cell, SEVERAL, Shared, misaligned};
use crate::{Fault, FaultKind};

/// A copy in flight writes the word.
const WRITTEN: u8 = 0x10;
/// A bulk copy in flight reads the word.
const READ: u8 = 0x20;
/// A bulk copy wrote the word: its loads are watched.
const SLOT: u8 = 0x40;
/// The word is part of an mbarrier.
const MBARRIER: u8 = 0x80;

/// The marks that concern ordinary accesses.
pub(super) const WATCHED: u8 = WRITTEN | READ | MBARRIER;

/// Who wrote bytes that a copy brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer {
    /// Index of the warp in the cluster, or one behind all of them.
    pub(crate) warp: usize,
    pub(crate) stamp: u32,
    /// Count of the warp's own synchronisations.
    pub(crate) epoch: u32,
    pub(crate) lane: u8,
}

impl Writer {
    /// Nobody's warp: who waits for an mbarrier learns of its stamps.
    pub(crate) fn asynchronous(agent: usize, stamp: u32) -> Self {
        Self { warp: agent, stamp, epoch: 0, lane: SEVERAL }
    }
}

impl Shared {
    /// Fails if a range is misaligned or leaves the memory.
    pub(crate) fn check_range(&self, offset: u32, len: u32, align: u32) -> Result<(), Fault> {
        if !offset.is_multiple_of(align) {
            return Err(misaligned(u64::from(offset), align, "shared"));
        }
        if offset > self.bytes || len > self.bytes - offset {
            return Err(self.outside(offset, len));
        }
        Ok(())
    }

    fn cells(&mut self, offset: u32, len: u32) -> &mut [Cell] {
        &mut self.cells[(offset / 4) as usize..(offset + len).div_ceil(4) as usize]
    }

    /// A copy that `who` issues will read the range: checks that it may, and marks it.
    pub(crate) fn start_read(
        &mut self,
        who: &Accessor<'_>,
        offset: u32,
        len: u32,
    ) -> Result<(), Fault> {
        for cell in self.cells(offset, len) {
            if cell.defined & 0xf != 0xf {
                let message = format!(
                    "a copy of shared bytes {offset}..+{len}, of which some were never written"
                );
                return Err(Fault::new(FaultKind::Uninitialized, message));
            }
            cell.check_idle(WRITTEN | MBARRIER, "reads", offset, len)?;
            cell.check_read(who, 0xf).map_err(|race| race.fault(offset, len, who))?;
            cell.check_fenced(who, offset, len, "a bulk copy")?;
            cell.defined |= READ;
        }
        Ok(())
    }

    /// A copy that `who` issues will write the range: checks that it may, and marks it.
    pub(crate) fn start_write(
        &mut self,
        who: &Accessor<'_>,
        offset: u32,
        len: u32,
        bulk: bool,
    ) -> Result<(), Fault> {
        let first_warp = self.first_warp;
        for cell in self.cells(offset, len) {
            cell.check_idle(WRITTEN | READ | MBARRIER, "writes", offset, len)?;
            if cell.write_stamp.max(cell.read_stamp) > who.clock.floor() {
                cell.check_write(who, 0xf, first_warp)
                    .map_err(|race| race.fault(offset, len, who))?;
            }
            if bulk {
                cell.check_fenced(who, offset, len, "a bulk copy")?;
            }
            cell.defined |= if bulk { WRITTEN | SLOT } else { WRITTEN };
        }
        Ok(())
    }

    /// A copy was waited for: `writer` has written its bytes.
    pub(crate) fn complete_write(&mut self, offset: u32, len: u32, writer: Writer) {
        for cell in self.cells(offset, len) {
            cell.defined = (cell.defined & !WRITTEN) | 0xf;
            cell.written = 0xf;
            cell.writer = writer.warp as u16;
            cell.write_stamp = writer.stamp;
            cell.writer_lane = writer.lane;
            cell.warp_epoch = writer.epoch;
        }
    }

    /// A copy out of the range was waited for.
    pub(crate) fn complete_read(&mut self, offset: u32, len: u32) {
        self.cells(offset, len).iter_mut().for_each(|cell| cell.defined &= !READ);
    }

    /// A product of `who` will read the range: checks that it may, and marks it.
    pub(crate) fn start_product(
        &mut self,
        who: &Accessor<'_>,
        offset: u32,
        len: u32,
    ) -> Result<(), Fault> {
        self.check_range(offset, len, len)?;
        for cell in self.cells(offset, len) {
            cell.check_idle(WRITTEN | MBARRIER, "reads", offset, len)?;
            if cell.defined & 0xf != 0xf {
                let message = format!("a product of shared bytes {offset}..+{len}, never written");
                return Err(Fault::new(FaultKind::Uninitialized, message));
            }
            cell.check_read(who, 0xf).map_err(|race| race.fault(offset, len, who))?;
            cell.check_fenced(who, offset, len, "a product")?;
            cell.record_read(&who.as_warp(), 0xf);
            cell.defined |= READ;
        }
        Ok(())
    }

    /// A product was waited for.
    pub(crate) fn complete_product(&mut self, who: &Accessor<'_>, offset: u32, len: u32) {
        for cell in self.cells(offset, len) {
            cell.record_read(&who.as_warp(), 0xf);
            cell.defined &= !READ;
        }
    }

    /// The bytes of a range, with no check.
    pub(crate) fn peek(&self, offset: u32, out: &mut [u8]) {
        for (word, bytes) in self.words[(offset / 4) as usize..].iter().zip(out.chunks_mut(4)) {
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
    }

    /// Writes whole words, with no check.
    pub(crate) fn poke(&mut self, offset: u32, bytes: &[u8]) {
        let words = self.words[(offset / 4) as usize..].iter_mut();
        for (word, bytes) in words.zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
    }

    /// Whether a bulk copy ever wrote the word at `offset`, which is in the memory.
    #[inline]
    pub(crate) fn is_slot(&self, offset: u32) -> bool {
        self.cells[(offset / 4) as usize].defined & SLOT != 0
    }

    /// An mbarrier lies in the range from now on.
    pub(crate) fn mark_mbarrier(&mut self, offset: u32, len: u32) -> Result<(), Fault> {
        self.check_range(offset, len, len)?;
        self.cells(offset, len).iter_mut().for_each(|cell| cell.defined |= MBARRIER);
        Ok(())
    }

    /// No mbarrier lies in the range any more; what is there is undefined.
    pub(crate) fn unmark_mbarrier(&mut self, offset: u32, len: u32) {
        self.cells(offset, len).iter_mut().for_each(|cell| cell.defined &= !(MBARRIER | 0xf));
    }
}

impl Cell {
    /// An ordinary access to a word that is marked.
    #[cold]
    pub(super) fn check_marks(&self, writes: bool, offset: u32, len: u32) -> Result<(), Fault> {
        let (marks, verb) = match writes {
            true => (WRITTEN | READ | MBARRIER, "writes"),
            false => (WRITTEN | MBARRIER, "reads"),
        };
        self.check_idle(marks, verb, offset, len)
    }

    fn check_idle(&self, marks: u8, verb: &str, offset: u32, len: u32) -> Result<(), Fault> {
        let (kind, why) = match self.defined & marks {
            0 => return Ok(()),
            found if found & MBARRIER != 0 => {
                (FaultKind::InvalidUse, "where an mbarrier lies: only mbarrier instructions may")
            }
            found if found & WRITTEN != 0 => (
                FaultKind::MissingWait,
                "which an asynchronous copy that nobody has waited for writes",
            ),
            _ => {
                (FaultKind::MissingWait, "which a bulk copy that nobody has waited for still reads")
            }
        };
        Err(Fault::new(kind, format!("{verb} shared bytes {offset}..+{len}, {why}")))
    }

    /// Fails if the ordinary write of a word may not be visible to `what` that `who` issues.
    fn check_fenced(
        &self,
        who: &Accessor<'_>,
        offset: u32,
        len: u32,
        what: &str,
    ) -> Result<(), Fault> {
        let ordinary = self.written != 0 && who.clock.is_warp(usize::from(self.writer));
        if !ordinary || who.clock.is_fenced(usize::from(self.writer), self.write_stamp) {
            return Ok(());
        }
        let message = format!(
            "{what} of shared bytes {offset}..+{len}, which warp {} wrote the ordinary way \
             with no fence.proxy.async between",
            self.writer
        );
        Err(Fault::new(FaultKind::MissingFence, message))
    }
}
