//! `ld` and `st` of every state space.

use super::shared::{Accessor, misaligned};
use super::space::{self, Space};
use super::{Executor, lanes_of};
use crate::lanes::{Kind, Register, Slot};
use crate::{Fault, FaultKind};

/// The address of an access and how much of it there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) base: Base,
    pub(crate) offset: i64,
    /// Bytes of one lane: 1, 2, 4, 8 or 16.
    pub(crate) len: u32,
    /// `volatile`, `relaxed`, `acquire` and `release`: no other thread sees half of a value.
    pub(crate) strong: bool,
}

/// To what the offset of an address is added.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base {
    None,
    Word(Slot<u32>),
    Double(Slot<u64>),
}

/// `ld`
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) access: Access,
    pub(crate) element: Element,
    pub(crate) dst: Vec<Register>,
}

/// `st`
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) access: Access,
    pub(crate) element: Element,
    pub(crate) src: Vec<Register>,
}

/// The type of the elements of a vector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    pub(crate) bytes: u32,
    pub(crate) signed: bool,
}

/// What an instruction reads or writes, as words of each lane.
pub(crate) struct Lines {
    /// The words of each lane.
    pub(crate) words: [[u32; 4]; 32],
    /// The lanes in which each word is something that was ever written.
    pub(crate) defined: [u32; 4],
}

impl Executor<'_, '_> {
    /// `ld`
    #[inline(never)]
    pub(super) fn load(&mut self, op: &Load, active: u32) -> Result<(), Fault> {
        let mut lines = Lines { words: [[0; 4]; 32], defined: [!0; 4] };
        self.read_lines(&op.access, active, &mut lines)?;
        self.watch(&op.access, active, &op.dst)?;
        for (at, dst) in op.dst.iter().enumerate() {
            self.take_element(op.element, at as u32, *dst, active, &lines);
        }
        Ok(())
    }

    /// Writes element `at` of what was read to a register.
    fn take_element(
        &mut self,
        Element { bytes, signed }: Element,
        at: u32,
        dst: Register,
        active: u32,
        lines: &Lines,
    ) {
        let word = (at * bytes / 4) as usize;
        let defined = lines.defined[word];
        if let (4, Kind::Word) = (bytes, dst.kind) {
            let mut values = [0; 32];
            for (value, words) in values.iter_mut().zip(&lines.words) {
                *value = words[word];
            }
            return self.write(Slot::<u32>::new(dst.index), active, &values, defined);
        }
        let shift = 64 - 8 * bytes.min(8);
        let skip = at * bytes % 4 * 8;
        let mut values = [0; 32];
        for (value, words) in values.iter_mut().zip(&lines.words) {
            let high = if bytes == 8 { words[word + 1] } else { 0 };
            let bits = (u64::from(words[word]) | u64::from(high) << 32) >> skip << shift;
            *value = if signed { (bits as i64 >> shift) as u64 } else { bits >> shift };
        }
        let defined = if bytes == 8 { defined & lines.defined[word + 1] } else { defined };
        match dst.slot::<u64>() {
            Some(dst) => self.write(dst, active, &values, defined),
            None => {
                let mask = !0u32 >> (32 - dst.bits);
                let mut narrow = [0; 32];
                for (narrow, value) in narrow.iter_mut().zip(&values) {
                    *narrow = *value as u32 & mask;
                }
                self.write(Slot::<u32>::new(dst.index), active, &narrow, defined);
            }
        }
    }

    /// `st`
    #[inline(never)]
    pub(super) fn store(&mut self, op: &Store, active: u32) -> Result<(), Fault> {
        let mut lines = Lines { words: [[0; 4]; 32], defined: [!0; 4] };
        for (at, src) in op.src.iter().enumerate() {
            self.put_element(op.element, at as u32, *src, &mut lines);
        }
        self.write_lines(&op.access, active, &lines)
    }

    /// Copies a register to element `at` of what is to be written.
    fn put_element(&self, element: Element, at: u32, src: Register, lines: &mut Lines) {
        let word = (at * element.bytes / 4) as usize;
        let skip = at * element.bytes % 4 * 8;
        let registers = &self.warp.registers;
        if let Some(src) = src.slot::<u64>() {
            let values = registers.get(src);
            for (words, value) in lines.words.iter_mut().zip(values) {
                words[word] |= (*value as u32 & narrow(element)) << skip;
                if element.bytes == 8 {
                    words[word + 1] = (value >> 32) as u32;
                }
            }
            lines.defined[word] &= registers.defined(src);
            if element.bytes == 8 {
                lines.defined[word + 1] &= registers.defined(src);
            }
        } else {
            let src = Slot::<u32>::new(src.index);
            for (words, value) in lines.words.iter_mut().zip(registers.get(src)) {
                words[word] |= (value & narrow(element)) << skip;
            }
            lines.defined[word] &= registers.defined(src);
        }
    }

    /// The addresses of an access, in its state space or generic.
    #[inline]
    pub(super) fn addresses(
        &self,
        access: &Access,
        active: u32,
        out: &mut [u64; 32],
    ) -> Result<(), Fault> {
        let offset = access.offset as u64;
        match access.base {
            Base::None => *out = [offset; 32],
            Base::Double(base) => {
                let base = self.read_defined(base, active, "the address")?;
                for (out, base) in out.iter_mut().zip(base) {
                    *out = base.wrapping_add(offset);
                }
            }
            Base::Word(base) => {
                let base = self.read_defined(base, active, "the address")?;
                for (out, base) in out.iter_mut().zip(base) {
                    *out = u64::from(base.wrapping_add(offset as u32));
                }
            }
        }
        Ok(())
    }

    /// Reads the words of every active lane.
    pub(super) fn read_lines(
        &mut self,
        access: &Access,
        active: u32,
        lines: &mut Lines,
    ) -> Result<(), Fault> {
        let mut addresses = [0; 32];
        self.addresses(access, active, &mut addresses)?;
        let space = common_space(access.space, &addresses, active);
        if space == Space::Global && !access.strong {
            return self.read_global(access.len, &addresses, active, lines);
        }
        for lane in lanes_of(active) {
            let (space, address) = locate(space, addresses[lane]);
            let out = &mut lines.words[lane];
            let defined = match space {
                Space::Global | Space::Generic => {
                    self.load_global(address, access, out).map(|()| true)
                }
                Space::Shared => self.load_shared(lane, address, access.len, out),
                Space::Local => self.warp.local.load(lane, address, access.len, out),
                Space::Param => self.load_param(address, access.len, out).map(|()| true),
            };
            if !defined.map_err(|fault| fault.in_lane(lane as u32))? {
                lines.defined.iter_mut().for_each(|mask| *mask &= !(1 << lane));
            }
        }
        Ok(())
    }

    /// Writes the words of every active lane.
    pub(super) fn write_lines(
        &mut self,
        access: &Access,
        active: u32,
        lines: &Lines,
    ) -> Result<(), Fault> {
        let mut addresses = [0; 32];
        self.addresses(access, active, &mut addresses)?;
        let space = common_space(access.space, &addresses, active);
        if space == Space::Global && !access.strong {
            return self.write_global(access.len, &addresses, active, lines);
        }
        let env = self.env;
        for lane in env.order.lanes {
            let lane = usize::from(lane);
            if active >> lane & 1 == 0 {
                continue;
            }
            let (space, address) = locate(space, addresses[lane]);
            let data = &lines.words[lane];
            let defined = |i: usize| (lines.defined[i] >> lane & 1) << i;
            let defined = defined(0) | defined(1) | defined(2) | defined(3);
            let stored = match space {
                Space::Global | Space::Generic => self.store_global(address, access, data, defined),
                Space::Shared => self.store_shared(lane, address, access.len, data, defined),
                Space::Local => self.warp.local.store(lane, address, access.len, data, defined),
                Space::Param => {
                    let message = "a store to the parameters, which are constant";
                    Err(Fault::new(FaultKind::InvalidUse, message))
                }
            };
            stored.map_err(|fault| fault.in_lane(lane as u32))?;
        }
        Ok(())
    }

    fn load_param(&self, address: u64, len: u32, out: &mut [u32; 4]) -> Result<(), Fault> {
        let size = self.env.launch.params.len() as u64;
        if !address.is_multiple_of(u64::from(len)) {
            return Err(misaligned(address, len, "parameter"));
        }
        if address.checked_add(u64::from(len)).is_none_or(|end| end > size) {
            let message = format!("bytes {address}..+{len} are outside the {size} of parameters");
            return Err(Fault::new(FaultKind::OutOfBounds, message));
        }
        let words = &self.env.params[(address / 4) as usize..];
        read_words(len, address as usize % 4, out, |i| words[i]);
        Ok(())
    }

    fn load_shared(
        &mut self,
        lane: usize,
        address: u64,
        len: u32,
        out: &mut [u32; 4],
    ) -> Result<bool, Fault> {
        let (shared, offset, who) = self.shared_memory(lane, address, false)?;
        shared.load(&who, offset, len, out)
    }

    fn store_shared(
        &mut self,
        lane: usize,
        address: u64,
        len: u32,
        data: &[u32; 4],
        defined: u32,
    ) -> Result<(), Fault> {
        let (shared, offset, who) = self.shared_memory(lane, address, false)?;
        shared.store(&who, offset, len, data, defined)
    }

    /// The shared memory that an address points to, the offset in it, and who accesses it.
    #[inline(always)]
    pub(crate) fn shared_memory(
        &mut self,
        lane: usize,
        address: u64,
        atomic: bool,
    ) -> Result<(&mut super::Shared, u32, Accessor<'_>), Fault> {
        let own = self.block.rank;
        let (rank, offset) = match u32::try_from(address) {
            Ok(address) => space::shared_at(address, own),
            Err(_) => (u32::MAX, 0),
        };
        if rank != own {
            self.check_reachable(rank)?;
        }
        let (shared, who) = self.shared_block(rank, lane, atomic);
        Ok((shared, offset, who))
    }
}

/// The bits of a word that an element of less than four bytes has.
fn narrow(element: Element) -> u32 {
    !0 >> (32 - 8 * element.bytes.min(4))
}

/// Copies `len` bytes from the words that `word` gives; less than four begin at byte `skip`.
#[inline(always)]
pub(super) fn read_words(len: u32, skip: usize, out: &mut [u32; 4], word: impl Fn(usize) -> u32) {
    match len {
        16 => *out = std::array::from_fn(word),
        8 => (out[0], out[1]) = (word(0), word(1)),
        4 => out[0] = word(0),
        _ => out[0] = (word(0) >> (8 * skip)) & (!0 >> (32 - 8 * len)),
    }
}

/// The space of all active lanes, if generic addresses happen to lie in global memory.
#[inline]
fn common_space(space: Space, addresses: &[u64; 32], active: u32) -> Space {
    let is_global = |lane: usize| Space::of(addresses[lane]).0 == Space::Global;
    if space == Space::Generic && lanes_of(active).all(is_global) { Space::Global } else { space }
}

/// The state space of an address, and the address in it.
#[inline(always)]
pub(super) fn locate(space: Space, address: u64) -> (Space, u64) {
    if space == Space::Generic { Space::of(address) } else { (space, address) }
}
