//! The shared memory of a block, and the detector of races in it.
//!
//! Beside every word lies a [`Cell`]: who wrote and who read it last, and when. Two accesses to
//! the same byte by different warps, one of them a write, are a race unless a barrier (or another
//! synchronisation) lies between them. A cell remembers the latest writer, and the readers of one
//! stamp: precise where whole blocks synchronise, else it may miss a race but never invents one.

mod copies;

pub(crate) use copies::Writer;

use super::clock::Clock;
use crate::{Fault, FaultKind};

/// Who accesses shared memory.
pub(crate) struct Accessor<'a> {
    pub(crate) clock: &'a Clock,
    /// The warp's index in its block, or `None` for a warp of another block of the cluster.
    pub(crate) warp: Option<u32>,
    pub(crate) lane: u8,
    /// Count of the warp's own synchronisations (`bar.warp.sync`).
    pub(crate) warp_epoch: u32,
    /// Whether the access is atomic: such accesses do not race with each other.
    pub(crate) atomic: bool,
}

impl Accessor<'_> {
    /// The same access by the warp as such, which no lane of it races with.
    fn as_warp(&self) -> Self {
        Self { lane: MIXED, ..*self }
    }
}

/// Several lanes of the warp made the access.
const SEVERAL: u8 = u8::MAX;
/// The write was atomic.
const ATOMIC: u8 = u8::MAX - 1;
/// Several lanes read, each bytes of its own.
const MIXED: u8 = u8::MAX - 2;

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    write_stamp: u32,
    read_stamp: u32,
    /// The writer's `warp_epoch`.
    warp_epoch: u32,
    /// The latest reader's `warp_epoch`.
    read_epoch: u32,
    /// Warps of the block that read the word.
    readers: u32,
    /// Index in the cluster of the warp that wrote.
    writer: u16,
    /// Index in the cluster, plus 1, of a warp of another block that read.
    remote_reader: u16,
    writer_lane: u8,
    reader_lane: u8,
    /// Bytes that anything ever wrote, one bit each; above them marks of asynchronous copies.
    defined: u8,
    /// Bytes of the latest write and of the latest reads.
    written: u8,
    read: u8,
}

/// The shared memory of one block.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    words: Vec<u32>,
    cells: Vec<Cell>,
    bytes: u32,
    /// Index in the cluster of the block's first warp.
    first_warp: usize,
}

impl Shared {
    /// Makes it that of a block whose first warp has that index in its cluster.
    pub(crate) fn prepare(&mut self, bytes: u32, first_warp: usize) {
        let len = bytes.div_ceil(4) as usize;
        self.words.resize(len, 0);
        self.cells.resize(len, Cell::default());
        (self.bytes, self.first_warp) = (bytes, first_warp);
    }

    /// Makes all of it unwritten.
    pub(crate) fn reset(&mut self) {
        self.cells.fill(Cell::default());
    }

    /// Reads `len` bytes (1, 2, 4, 8 or 16); whether all of them were ever written.
    ///
    /// # Errors
    /// For addresses outside, misaligned ones and races.
    #[inline]
    pub(crate) fn load(
        &mut self,
        who: &Accessor<'_>,
        offset: u32,
        len: u32,
        out: &mut [u32; 4],
    ) -> Result<bool, Fault> {
        self.check(offset, len)?;
        let first = (offset / 4) as usize;
        let bytes = byte_mask(offset, len);
        let mut defined = true;
        for (i, out) in out.iter_mut().enumerate().take(len.div_ceil(4) as usize) {
            let cell = &mut self.cells[first + i];
            if cell.defined & copies::WATCHED != 0 {
                cell.check_marks(false, offset, len)?;
            }
            if cell.write_stamp > who.clock.floor() {
                cell.check_read(who, bytes).map_err(|race| race.fault(offset, len, who))?;
            }
            cell.record_read(who, bytes);
            defined &= cell.defined & bytes == bytes;
            *out = self.words[first + i];
        }
        if len < 4 {
            out[0] = (out[0] >> (offset % 4 * 8)) & (!0 >> (32 - 8 * len));
        }
        Ok(defined)
    }

    /// Writes `len` bytes (1, 2, 4, 8 or 16); bit i of `defined` says whether word i of `data`
    /// is something that was ever written.
    ///
    /// # Errors
    /// For addresses outside, misaligned ones and races.
    #[inline]
    pub(crate) fn store(
        &mut self,
        who: &Accessor<'_>,
        offset: u32,
        len: u32,
        data: &[u32; 4],
        defined: u32,
    ) -> Result<(), Fault> {
        self.check(offset, len)?;
        let first = (offset / 4) as usize;
        let bytes = byte_mask(offset, len);
        for (i, data) in data.iter().enumerate().take(len.div_ceil(4) as usize) {
            let cell = &mut self.cells[first + i];
            if cell.defined & copies::WATCHED != 0 {
                cell.check_marks(true, offset, len)?;
            }
            if cell.write_stamp.max(cell.read_stamp) > who.clock.floor() {
                cell.check_write(who, bytes, self.first_warp)
                    .map_err(|race| race.fault(offset, len, who))?;
            }
            cell.record_write(who, bytes, defined >> i & 1 == 1);
            let word = &mut self.words[first + i];
            if len >= 4 {
                *word = *data;
            } else {
                let shift = offset % 4 * 8;
                let mask = (!0u32 >> (32 - 8 * len)) << shift;
                *word = (*word & !mask) | ((*data << shift) & mask);
            }
        }
        Ok(())
    }

    #[inline]
    fn check(&self, offset: u32, len: u32) -> Result<(), Fault> {
        if !offset.is_multiple_of(len) {
            return Err(misaligned(u64::from(offset), len, "shared"));
        }
        if offset > self.bytes || len > self.bytes - offset {
            return Err(self.outside(offset, len));
        }
        Ok(())
    }

    #[cold]
    fn outside(&self, offset: u32, len: u32) -> Fault {
        let size = self.bytes;
        let message =
            format!("bytes {offset}..+{len} are outside the block's {size} bytes of shared memory");
        Fault::new(FaultKind::OutOfBounds, message)
    }
}

/// An address that is no multiple of the size of the access.
#[cold]
pub(crate) fn misaligned(address: u64, len: u32, space: &str) -> Fault {
    let message = format!("{space} address {address:#x} is not a multiple of {len}");
    Fault::new(FaultKind::Misaligned, message)
}

/// The bytes of each touched word that an access covers, one bit each.
#[inline]
fn byte_mask(offset: u32, len: u32) -> u8 {
    if len >= 4 { 0xf } else { ((1 << len) - 1) << (offset % 4) }
}

impl Cell {
    /// Fails if a write that is not over overlaps a read.
    fn check_read(&self, who: &Accessor<'_>, bytes: u8) -> Result<(), Race> {
        if self.written & bytes == 0 || (who.atomic && self.writer_lane == ATOMIC) {
            return Ok(());
        }
        let writer = usize::from(self.writer);
        if !who.clock.is_over(writer, self.write_stamp) {
            return Err(Race { reads: true, other_reads: false, other: writer });
        }
        let other_lane = self.writer_lane != who.lane && self.writer_lane < ATOMIC;
        if writer == who.clock.id() && other_lane && self.warp_epoch == who.warp_epoch {
            return Err(Race { reads: true, other_reads: false, other: writer });
        }
        Ok(())
    }

    /// Fails if a read or write that is not over overlaps a write.
    fn check_write(&self, who: &Accessor<'_>, bytes: u8, first_warp: usize) -> Result<(), Race> {
        let race = |other, other_reads| Err(Race { reads: false, other_reads, other });
        let both_atomic = who.atomic && self.writer_lane == ATOMIC;
        let writer = usize::from(self.writer);
        if self.written & bytes != 0 && !both_atomic && !who.clock.is_over(writer, self.write_stamp)
        {
            return race(writer, false);
        }
        if self.read & bytes == 0 || self.read_stamp <= who.clock.floor() {
            return Ok(());
        }
        let mut readers = self.readers;
        while readers != 0 {
            let reader = first_warp + readers.trailing_zeros() as usize;
            if !who.clock.is_over(reader, self.read_stamp) {
                return race(reader, true);
            }
            readers &= readers - 1;
        }
        match self.remote_reader.checked_sub(1).map(usize::from) {
            Some(reader) if !who.clock.is_over(reader, self.read_stamp) => race(reader, true),
            _ if self.was_read_by_other_lane(who) => race(who.clock.id(), true),
            _ => Ok(()),
        }
    }

    /// Whether only the warp itself read the word since it last synchronised, in another lane.
    fn was_read_by_other_lane(&self, who: &Accessor<'_>) -> bool {
        who.warp.is_some_and(|warp| self.readers == 1 << warp)
            && self.read_stamp == who.clock.stamp()
            && self.read_epoch == who.warp_epoch
            && self.reader_lane != who.lane
            && self.reader_lane != MIXED
    }

    #[inline]
    fn record_read(&mut self, who: &Accessor<'_>, bytes: u8) {
        // What an atomic reads it also writes, and that is recorded.
        if who.atomic {
            return;
        }
        let reader = who.warp.map_or(0, |warp| 1 << warp);
        let same = self.read_stamp == who.clock.stamp();
        let same_warp = same && self.readers == reader && self.read_epoch == who.warp_epoch;
        self.reader_lane = match self.reader_lane {
            lane if !same_warp || lane == who.lane => who.lane,
            MIXED => MIXED,
            _ if self.read == bytes => SEVERAL,
            _ => MIXED,
        };
        self.read_epoch = who.warp_epoch;
        if same && (self.read == bytes || self.readers == reader) {
            self.readers |= reader;
            self.read |= bytes;
        } else {
            self.readers = reader;
            self.read = bytes;
            self.read_stamp = who.clock.stamp();
            self.remote_reader = 0;
        }
        if reader == 0 {
            self.remote_reader = who.clock.id() as u16 + 1;
        }
    }

    #[inline]
    fn record_write(&mut self, who: &Accessor<'_>, bytes: u8, defined: bool) {
        let same = self.write_stamp == who.clock.stamp()
            && usize::from(self.writer) == who.clock.id()
            && self.warp_epoch == who.warp_epoch;
        self.writer_lane = match (who.atomic, same) {
            (true, _) => ATOMIC,
            (false, true) if self.writer_lane != who.lane => SEVERAL,
            _ => who.lane,
        };
        self.written = if same { self.written | bytes } else { bytes };
        self.write_stamp = who.clock.stamp();
        self.warp_epoch = who.warp_epoch;
        self.writer = who.clock.id() as u16;
        self.defined = if defined { self.defined | bytes } else { self.defined & !bytes };
    }
}

/// Two accesses with no barrier between them.
struct Race {
    reads: bool,
    other_reads: bool,
    /// Index in the cluster of the warp that came first.
    other: usize,
}

impl Race {
    #[cold]
    fn fault(&self, offset: u32, len: u32, who: &Accessor<'_>) -> Fault {
        let verb = |reads| if reads { "reads" } else { "writes" };
        let (own, earlier) = (who.clock.id(), verb(self.other_reads));
        if !who.clock.is_warp(self.other) {
            let message = format!(
                "warp {own} {} shared bytes {offset}..+{len}, which an asynchronous copy writes: \
                 the warp has not waited for its mbarrier",
                verb(self.reads)
            );
            return Fault::new(FaultKind::MissingWait, message);
        }
        let other = match self.other {
            other if other == own => format!("another lane of it {earlier}"),
            other => format!("warp {other} {earlier}"),
        };
        let message = format!(
            "race: warp {own} {} shared bytes {offset}..+{len}, which {other} with no barrier \
             between",
            verb(self.reads)
        );
        Fault::new(FaultKind::Race, message)
    }
}
