//! Copies and fills: when each reads and writes the program's memory.

use std::sync::Arc;

use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::ffi::{HostAddress, HostSpan};
use crate::handle::Handle;
use crate::operation::{Fill, Operation};
use crate::types::{DEVICE_MEMORY, HOST_MEMORY, Memcpy2d, Memcpy2dSide};

/// Largest copy from pageable memory that is staged at the call ("API synchronization behavior" in
/// the driver API's manual); a larger one blocks until the stream gets there.
const STAGED_BYTES: usize = 64 << 10;

/// When a call returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// At once, unless pageable memory keeps it.
    Early,
    /// When the copy is done.
    Done,
}

/// A copy of `height` rows of `width` bytes.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    to: Side,
    from: Side,
    width: usize,
    height: usize,
}

/// One side of a copy: where its first row begins, and the bytes from row to row.
#[derive(Clone, Debug)]
struct Side {
    place: Place,
    pitch: usize,
}

#[derive(Clone, Debug)]
enum Place {
    Device(u64),
    /// Host memory, read or written when the copy runs.
    Host(HostAddress),
    /// Host memory as it was at the call, without gaps between rows.
    Staged(Arc<[u8]>),
}

impl Copy {
    /// A copy of `bytes` bytes in a row.
    fn flat(to: Place, from: Place, bytes: usize) -> Copy {
        let side = |place| Side { place, pitch: bytes };
        Copy { to: side(to), from: side(from), width: bytes, height: 1 }
    }

    pub(crate) fn to_device(to: u64, from: HostAddress, bytes: usize) -> Copy {
        Copy::flat(Place::Device(to), Place::Host(from), bytes)
    }

    pub(crate) fn to_host(to: HostAddress, from: u64, bytes: usize) -> Copy {
        Copy::flat(Place::Host(to), Place::Device(from), bytes)
    }

    pub(crate) fn within(to: u64, from: u64, bytes: usize) -> Copy {
        Copy::flat(Place::Device(to), Place::Device(from), bytes)
    }

    /// # Errors
    /// `INVALID_VALUE` for a pitch shorter than a row, `NOT_SUPPORTED` for arrays.
    pub(crate) fn planes(copy: &Memcpy2d) -> Result<Copy> {
        let side = |side: &Memcpy2dSide| {
            if side.pitch < side.x + copy.width {
                let (x, width, pitch) = (side.x, copy.width, side.pitch);
                return Code::INVALID_VALUE.err(format!("{x} + {width} bytes of a row of {pitch}"));
            }
            let offset = side.y * side.pitch + side.x;
            let place = match side.memory {
                HOST_MEMORY => Place::Host(HostAddress(side.host.0 + offset)),
                DEVICE_MEMORY => Place::Device(side.device + offset as u64),
                other => return Code::NOT_SUPPORTED.err(format!("memory of type {other}")),
            };
            Ok(Side { place, pitch: side.pitch })
        };
        let (to, from) = (side(&copy.to)?, side(&copy.from)?);
        Ok(Copy { to, from, width: copy.width, height: copy.height })
    }

    fn bytes(&self) -> usize {
        self.width.saturating_mul(self.height)
    }

    /// Address and length of the host memory that a side spans.
    fn host_span(&self, side: &Side) -> Option<(usize, usize)> {
        match side.place {
            Place::Host(HostAddress(address)) if self.height > 0 => {
                Some((address, (self.height - 1) * side.pitch + self.width))
            }
            _ => None,
        }
    }

    /// # Errors
    /// `INVALID_VALUE` if a row leaves device memory or begins at a null pointer.
    fn check(&self, driver: &Driver) -> Result<()> {
        for side in [&self.to, &self.from] {
            match side.place {
                Place::Host(address) => HostSpan::new(address, self.bytes()).map(drop)?,
                Place::Device(base) => (0..self.height).try_for_each(|row| {
                    driver.memory.check(base + (row * side.pitch) as u64, self.width as u64)
                })?,
                Place::Staged(_) => {}
            }
        }
        Ok(())
    }

    fn read_row(&self, driver: &Driver, row: usize) -> Result<Vec<u8>, String> {
        let offset = row * self.from.pitch;
        match &self.from.place {
            Place::Device(base) => driver.memory.read(base + offset as u64, self.width as u64),
            Place::Host(base) => {
                let span = HostSpan::new(HostAddress(base.0 + offset), self.width);
                span.map(|span| span.read()).map_err(|failure| failure.why.into_owned())
            }
            Place::Staged(bytes) => Ok(bytes[offset..offset + self.width].to_vec()),
        }
    }

    fn write_row(&self, driver: &Driver, row: usize, bytes: &[u8]) -> Result<(), String> {
        let offset = row * self.to.pitch;
        match &self.to.place {
            Place::Device(base) => driver.memory.write(base + offset as u64, bytes),
            Place::Host(base) => {
                let span = HostSpan::new(HostAddress(base.0 + offset), self.width);
                span.map(|span| span.write(bytes)).map_err(|failure| failure.why.into_owned())
            }
            Place::Staged(_) => Err("nothing is copied to a staging buffer".to_owned()),
        }
    }

    /// # Errors
    /// Why a row could not be copied.
    pub(crate) fn perform(&self, driver: &Driver) -> Result<(), String> {
        (0..self.height)
            .try_for_each(|row| self.write_row(driver, row, &self.read_row(driver, row)?))
    }

    /// The same copy from the host memory's contents of now.
    fn staged(self, driver: &Driver) -> Result<Copy> {
        let rows: Result<Vec<Vec<u8>>, String> =
            (0..self.height).map(|row| self.read_row(driver, row)).collect();
        let rows = rows.map_err(|why| Code::INVALID_VALUE.because(why))?;
        let from = Side { place: Place::Staged(rows.concat().into()), pitch: self.width };
        Ok(Copy { from, ..self })
    }
}

impl Driver {
    /// All kinds of copies. Any failure invalidates a capture of the stream.
    pub(crate) fn copy(
        &mut self,
        copy: Copy,
        stream: Handle,
        when: Return,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        let pageable = |span: Option<(usize, usize)>| {
            span.is_some_and(|(address, bytes)| !self.host.is_pinned(address, bytes))
        };
        let from_pageable = pageable(copy.host_span(&copy.from));
        let to_pageable = pageable(copy.host_span(&copy.to));
        let large = copy.bytes() > STAGED_BYTES;
        let wait = when == Return::Done || to_pageable || (from_pageable && large);
        // A graph's copy reads its memory at every replay, pageable or not.
        let captured = self.streams.get(stream).branch.is_some();
        let marker = self.or_invalidate(stream, |driver| {
            copy.check(driver)?;
            let stage = from_pageable && !captured;
            let copy = if stage { copy.staged(driver)? } else { copy };
            driver.submit(stream, Operation::Copy(copy), false)
        })?;
        if let Some(marker) = marker.filter(|_| wait) {
            self.run_until(marker);
            self.healthy()?;
        }
        Ok(())
    }

    /// `cuMemsetD8Async` and its wider kin; the forms without a stream do not wait either.
    pub(crate) fn fill(
        &mut self,
        address: u64,
        element: &[u8],
        count: usize,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        let (width, count) = (element.len() as u64, count as u64);
        self.or_invalidate(stream, |driver| {
            let Some(bytes) = width.checked_mul(count) else {
                return Code::INVALID_VALUE.err("more elements than there are addresses");
            };
            if !address.is_multiple_of(width) {
                return Code::INVALID_VALUE.err(format!("{address:#x} is no multiple of {width}"));
            }
            driver.memory.check(address, bytes)?;
            let fill = Fill { address, element: element.into(), count };
            driver.submit(stream, Operation::Fill(fill), false).map(drop)
        })
    }
}
