//! Local memory: the stack that every thread has for itself.

use super::shared::misaligned;
use crate::{Fault, FaultKind};

/// The local memory of a warp, word by word for all lanes.
#[derive(Debug)]
pub(crate) struct Local {
    words: Vec<[u32; 32]>,
    /// For each byte of a word the lanes that have written it.
    defined: Vec<[u32; 4]>,
    bytes: u32,
}

impl Local {
    pub(crate) fn new(bytes: u32) -> Self {
        let len = bytes.div_ceil(4) as usize;
        Self { words: vec![[0; 32]; len], defined: vec![[0; 4]; len], bytes }
    }

    /// Makes all of it unwritten.
    pub(crate) fn reset(&mut self) {
        self.defined.fill([0; 4]);
    }

    /// Reads `len` bytes (1, 2, 4, 8 or 16) of a lane; whether all of them were ever written.
    pub(crate) fn load(
        &self,
        lane: usize,
        offset: u64,
        len: u32,
        out: &mut [u32; 4],
    ) -> Result<bool, Fault> {
        let first = self.check(offset, len)?;
        let skip = offset as usize % 4;
        let mut defined = !0;
        for i in 0..len as usize {
            let (word, byte) = ((skip + i) / 4, (skip + i) % 4);
            defined &= self.defined[first + word][byte];
        }
        for (i, out) in out.iter_mut().enumerate().take(len.div_ceil(4) as usize) {
            *out = self.words[first + i][lane];
        }
        if len < 4 {
            out[0] = (out[0] >> (8 * skip)) & (!0 >> (32 - 8 * len));
        }
        Ok(defined >> lane & 1 == 1)
    }

    /// Writes `len` bytes (1, 2, 4, 8 or 16) of a lane; bit i of `defined` says whether word i of
    /// `data` is something that was ever written.
    pub(crate) fn store(
        &mut self,
        lane: usize,
        offset: u64,
        len: u32,
        data: &[u32; 4],
        defined: u32,
    ) -> Result<(), Fault> {
        let first = self.check(offset, len)?;
        let skip = offset as usize % 4;
        for i in 0..len as usize {
            let (word, byte) = ((skip + i) / 4, (skip + i) % 4);
            let shift = 8 * byte;
            let from = data[i / 4] >> (8 * (i % 4)) & 0xff;
            let to = &mut self.words[first + word][lane];
            *to = (*to & !(0xff << shift)) | (from << shift);
            let mask = &mut self.defined[first + word][byte];
            *mask = (*mask & !(1 << lane)) | ((defined >> (i / 4) & 1) << lane);
        }
        Ok(())
    }

    /// Index of the first word of an access.
    fn check(&self, offset: u64, len: u32) -> Result<usize, Fault> {
        if !offset.is_multiple_of(u64::from(len)) {
            return Err(misaligned(offset, len, "local"));
        }
        let end = offset.checked_add(u64::from(len));
        if end.is_none_or(|end| end > u64::from(self.bytes)) {
            let size = self.bytes;
            let message = format!(
                "bytes {offset}..+{len} are outside the thread's {size} bytes of local memory"
            );
            return Err(Fault::new(FaultKind::OutOfBounds, message));
        }
        Ok((offset / 4) as usize)
    }
}
