//! Loads from and stores to global memory.

use std::sync::atomic::{AtomicU32, Ordering};

use super::memory_access::{Access, Lines, read_words};
use super::shared::misaligned;
use super::{Executor, lanes_of};
use crate::memory::{Allocation, Table};
use crate::{Fault, FaultKind, MemoryError};

impl Executor<'_, '_> {
    /// Reads `len` bytes of global memory in every active lane: the most frequent access.
    pub(super) fn read_global(
        &mut self,
        len: u32,
        addresses: &[u64; 32],
        active: u32,
        lines: &mut Lines,
    ) -> Result<(), Fault> {
        match len {
            16 => self.read_lanes::<16>(addresses, active, lines),
            8 => self.read_lanes::<8>(addresses, active, lines),
            4 => self.read_lanes::<4>(addresses, active, lines),
            2 => self.read_lanes::<2>(addresses, active, lines),
            _ => self.read_lanes::<1>(addresses, active, lines),
        }
    }

    /// Reads `LEN` bytes of global memory in every active lane.
    fn read_lanes<const LEN: u32>(
        &mut self,
        addresses: &[u64; 32],
        active: u32,
        lines: &mut Lines,
    ) -> Result<(), Fault> {
        let env = self.env;
        let hit = &mut self.warp.hit;
        if let Some(words) = adjacent::<LEN>(&env.table, *hit, addresses, active) {
            read_adjacent::<LEN>(words, lines);
            return Ok(());
        }
        let mut allocation: Option<&Allocation> = None;
        for lane in lanes_of(active) {
            let address = addresses[lane];
            let found = match allocation.filter(|a| owns::<LEN>(a, address)) {
                Some(found) => found,
                None => find(&env.table, hit, address, LEN)
                    .map_err(|fault| fault.in_lane(lane as u32))?,
            };
            allocation = Some(found);
            let offset = address.wrapping_sub(found.base) as usize;
            let words = &found.words[offset / 4..offset / 4 + LEN.div_ceil(4) as usize];
            read_words(LEN, offset % 4, &mut lines.words[lane], |i| {
                words[i].load(Ordering::Relaxed)
            });
        }
        Ok(())
    }

    /// Writes `len` bytes of global memory in every active lane.
    pub(super) fn write_global(
        &mut self,
        len: u32,
        addresses: &[u64; 32],
        active: u32,
        lines: &Lines,
    ) -> Result<(), Fault> {
        let num_words = len.div_ceil(4) as usize;
        let defined = lines.defined[..num_words].iter().fold(!0, |all, defined| all & defined);
        self.check_defined(defined, active, "a store to global memory")?;
        match len {
            16 => self.write_lanes::<16>(addresses, active, lines),
            8 => self.write_lanes::<8>(addresses, active, lines),
            4 => self.write_lanes::<4>(addresses, active, lines),
            2 => self.write_lanes::<2>(addresses, active, lines),
            _ => self.write_lanes::<1>(addresses, active, lines),
        }
    }

    /// Writes `LEN` bytes of global memory in every active lane.
    fn write_lanes<const LEN: u32>(
        &mut self,
        addresses: &[u64; 32],
        active: u32,
        lines: &Lines,
    ) -> Result<(), Fault> {
        let env = self.env;
        let hit = &mut self.warp.hit;
        if let Some(words) = adjacent::<LEN>(&env.table, *hit, addresses, active) {
            write_adjacent::<LEN>(words, lines);
            return Ok(());
        }
        let mut allocation: Option<&Allocation> = None;
        let mut waiting = active;
        for lane in env.order.lanes {
            let lane = usize::from(lane);
            if waiting >> lane & 1 == 0 {
                continue;
            }
            waiting &= !(1 << lane);
            let address = addresses[lane];
            let found = match allocation.filter(|a| owns::<LEN>(a, address)) {
                Some(found) => found,
                None => find(&env.table, hit, address, LEN)
                    .map_err(|fault| fault.in_lane(lane as u32))?,
            };
            allocation = Some(found);
            let offset = address.wrapping_sub(found.base) as usize;
            let data = &lines.words[lane];
            if LEN == 2 && pairs(addresses, waiting, lane) && owns::<4>(found, address) {
                waiting &= !(2 << lane);
                let both = (lines.words[lane + 1][0] << 16) | data[0];
                found.words[offset / 4].store(both, Ordering::Relaxed);
                continue;
            }
            if LEN < 4 {
                let shift = offset % 4 * 8;
                let mask = (!0u32 >> (32 - 8 * LEN)) << shift;
                found.store_bits(offset / 4, mask, data[0] << shift);
                continue;
            }
            let words = &found.words[offset / 4..offset / 4 + LEN as usize / 4];
            for (word, data) in words.iter().zip(data) {
                word.store(*data, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn load_global(
        &mut self,
        address: u64,
        access: &Access,
        out: &mut [u32; 4],
    ) -> Result<(), Fault> {
        let env = self.env;
        let allocation = find(&env.table, &mut self.warp.hit, address, access.len)?;
        let offset = (address - allocation.base) as usize;
        let _lock = (access.strong && access.len == 8).then(|| env.memory.lock(address));
        let words = &allocation.words[offset / 4..];
        read_words(access.len, offset % 4, out, |i| words[i].load(Ordering::Relaxed));
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store_global(
        &mut self,
        address: u64,
        access: &Access,
        data: &[u32; 4],
        defined: u32,
    ) -> Result<(), Fault> {
        let env = self.env;
        let allocation = find(&env.table, &mut self.warp.hit, address, access.len)?;
        let num_words = access.len.div_ceil(4) as usize;
        if !defined & ((1 << num_words) - 1) != 0 {
            let message = format!("a value that nothing has written goes to {address:#x}");
            return Err(Fault::new(FaultKind::Uninitialized, message));
        }
        let offset = (address - allocation.base) as usize;
        if access.len < 4 {
            let shift = offset % 4 * 8;
            let mask = (!0u32 >> (32 - 8 * access.len)) << shift;
            allocation.store_bits(offset / 4, mask, data[0] << shift);
            return Ok(());
        }
        let _lock = (access.strong && access.len == 8).then(|| env.memory.lock(address));
        let words = &allocation.words[offset / 4..offset / 4 + num_words];
        for (word, data) in words.iter().zip(data) {
            word.store(*data, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The words that the lanes access, if all are active and access adjacent elements in order, as
/// they mostly do.
#[inline]
fn adjacent<'t, const LEN: u32>(
    table: &'t Table,
    hit: usize,
    addresses: &[u64; 32],
    active: u32,
) -> Option<&'t [AtomicU32]> {
    let first = addresses[0];
    let mut differ = !active as u64 | first & u64::from(LEN.max(4) - 1);
    for (lane, address) in addresses.iter().enumerate() {
        differ |= address ^ first.wrapping_add(lane as u64 * u64::from(LEN));
    }
    let allocation = table.get(hit).filter(|_| differ == 0)?;
    let start = first.wrapping_sub(allocation.base) as usize / 4;
    let inside = allocation.contains(first, 32 * u64::from(LEN));
    inside.then(|| &allocation.words[start..start + 8 * LEN as usize])
}

/// Reads adjacent elements of `LEN` bytes for all lanes.
fn read_adjacent<const LEN: u32>(words: &[AtomicU32], lines: &mut Lines) {
    if LEN >= 4 {
        for (line, words) in lines.words.iter_mut().zip(words.chunks_exact(LEN as usize / 4)) {
            for (to, word) in line.iter_mut().zip(words) {
                *to = word.load(Ordering::Relaxed);
            }
        }
        return;
    }
    let (bits, mask) = (8 * LEN, !0u32 >> (32 - 8 * LEN));
    for (line, word) in lines.words.chunks_exact_mut(4 / LEN as usize).zip(words) {
        let word = word.load(Ordering::Relaxed);
        for (at, to) in (0u32..).zip(line) {
            to[0] = (word >> (at * bits)) & mask;
        }
    }
}

/// Writes adjacent elements of `LEN` bytes of all lanes.
fn write_adjacent<const LEN: u32>(words: &[AtomicU32], lines: &Lines) {
    if LEN >= 4 {
        for (line, words) in lines.words.iter().zip(words.chunks_exact(LEN as usize / 4)) {
            for (from, word) in line.iter().zip(words) {
                word.store(*from, Ordering::Relaxed);
            }
        }
        return;
    }
    let (bits, mask) = (8 * LEN, !0u32 >> (32 - 8 * LEN));
    for (line, word) in lines.words.chunks_exact(4 / LEN as usize).zip(words) {
        let parts = (0u32..).zip(line).map(|(at, from)| (from[0] & mask) << (at * bits));
        word.store(parts.fold(0, |word, part| word | part), Ordering::Relaxed);
    }
}

/// Whether the next lane writes the half-word behind this lane's. Both at once are one store
/// instead of two exchanges.
#[inline(always)]
fn pairs(addresses: &[u64; 32], waiting: u32, lane: usize) -> bool {
    lane < 31
        && waiting >> (lane + 1) & 1 == 1
        && addresses[lane + 1] == addresses[lane].wrapping_add(2)
}

/// Whether an access is aligned and inside an allocation.
#[inline(always)]
fn owns<const LEN: u32>(allocation: &Allocation, address: u64) -> bool {
    address & u64::from(LEN - 1) == 0 && allocation.contains(address, u64::from(LEN))
}

/// The allocation that owns `len` bytes from a global address on; `hit` is where the last access
/// found its own.
#[inline(always)]
pub(crate) fn find<'t>(
    table: &'t Table,
    hit: &mut usize,
    address: u64,
    len: u32,
) -> Result<&'t Allocation, Fault> {
    if !address.is_multiple_of(u64::from(len)) {
        return Err(misaligned(address, len, "global"));
    }
    match table.get(*hit) {
        Some(allocation) if allocation.contains(address, u64::from(len)) => Ok(allocation),
        _ => find_again(table, hit, address, len),
    }
}

fn find_again<'t>(
    table: &'t Table,
    hit: &mut usize,
    address: u64,
    len: u32,
) -> Result<&'t Allocation, Fault> {
    if let Some(index) = table.find(address)
        && let Some(allocation) = table.get(index)
        && allocation.contains(address, u64::from(len))
    {
        *hit = index;
        return Ok(allocation);
    }
    let error = table.explain(address, u64::from(len));
    let kind = match error {
        MemoryError::Freed { .. } => FaultKind::UseAfterFree,
        _ => FaultKind::OutOfBounds,
    };
    Err(Fault::new(kind, error.to_string()))
}
