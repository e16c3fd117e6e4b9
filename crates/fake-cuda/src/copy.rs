//! Copies and fills: when each reads and writes the program's memory.

use std::sync::Arc;

use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::ffi::{HostAddress, HostSpan};
use crate::handle::Handle;
use crate::operation::{Copy, Fill, Operation};
use crate::stream::LEGACY;
use crate::types::{DEVICE_MEMORY, HOST_MEMORY, Memcpy2d};

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

impl Driver {
    /// Submits to `stream` what `prepare` makes, and runs it if the call has to wait for it. Any
    /// failure invalidates a capture of the stream.
    fn submit_copy(
        &mut self,
        stream: Handle,
        wait: bool,
        prepare: impl FnOnce(&mut Driver) -> Result<Operation>,
    ) -> Result<()> {
        let marker = self.or_invalidate(stream, |driver| {
            let operation = prepare(driver)?;
            driver.submit(stream, operation, false)
        })?;
        if let Some(marker) = marker.filter(|_| wait) {
            self.run_until(marker);
            self.healthy()?;
        }
        Ok(())
    }

    /// `cuMemcpyHtoDAsync`, and `cuMemcpyHtoD` on the legacy stream.
    pub(crate) fn copy_to_device(
        &mut self,
        to: u64,
        from: HostAddress,
        bytes: usize,
        stream: Handle,
        when: Return,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        let pinned = self.host.is_pinned(from.0, bytes);
        let captured = self.streams.get(stream).branch.is_some();
        let wait = when == Return::Done || (!pinned && bytes > STAGED_BYTES);
        self.submit_copy(stream, wait, |driver| {
            driver.memory.check(to, bytes as u64)?;
            let from = HostSpan::new(from, bytes)?;
            // A graph's copy reads its memory at every replay, pageable or not.
            Ok(Operation::Copy(if pinned || captured {
                Copy::FromHost { to, from }
            } else {
                Copy::FromStaging { to, bytes: from.read().into() }
            }))
        })
    }

    /// `cuMemcpyDtoHAsync`, and `cuMemcpyDtoH` on the legacy stream.
    pub(crate) fn copy_to_host(
        &mut self,
        to: HostAddress,
        from: u64,
        bytes: usize,
        stream: Handle,
        when: Return,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        let wait = when == Return::Done || !self.host.is_pinned(to.0, bytes);
        self.submit_copy(stream, wait, |driver| {
            driver.memory.check(from, bytes as u64)?;
            let to = HostSpan::new(to, bytes)?;
            Ok(Operation::Copy(Copy::ToHost { to, from, bytes: bytes as u64 }))
        })
    }

    /// `cuMemcpyDtoDAsync`; the form without a stream does not wait either.
    pub(crate) fn copy_within(
        &mut self,
        to: u64,
        from: u64,
        bytes: usize,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        let bytes = bytes as u64;
        self.submit_copy(stream, false, |driver| {
            driver.memory.check(to, bytes)?;
            driver.memory.check(from, bytes)?;
            Ok(Operation::Copy(Copy::Within { to, from, bytes }))
        })
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
        let width = element.len() as u64;
        self.submit_copy(stream, false, |driver| {
            let Some(bytes) = width.checked_mul(count as u64) else {
                return Code::INVALID_VALUE.err("more elements than there are addresses");
            };
            if !address.is_multiple_of(width) {
                return Code::INVALID_VALUE.err(format!("{address:#x} is no multiple of {width}"));
            }
            driver.memory.check(address, bytes)?;
            let element: Arc<[u8]> = element.into();
            Ok(Operation::Fill(Fill { address, element, count: count as u64 }))
        })
    }

    /// `cuMemcpy2DAsync` between host and device, as a copy of each row. What it would be in a
    /// graph, one node, is not modelled.
    pub(crate) fn copy_rows(
        &mut self,
        copy: Memcpy2d,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let resolved = self.streams.resolve(stream, caller)?;
        if self.streams.get(resolved).branch.is_some() {
            let refused = |_: &mut Self| Code::NOT_SUPPORTED.err("2D copies in a capture");
            return self.or_invalidate(resolved, refused);
        }
        let Memcpy2d { from, to, width, height } = copy;
        if from.pitch < width || to.pitch < width {
            return Code::INVALID_VALUE.err(format!("rows of {width} bytes overlap"));
        }
        for row in 0..height {
            let from_offset = (from.y + row) * from.pitch + from.x_bytes;
            let to_offset = (to.y + row) * to.pitch + to.x_bytes;
            match (from.memory_type, to.memory_type) {
                (HOST_MEMORY, DEVICE_MEMORY) => {
                    let host = HostAddress(from.host.0 + from_offset);
                    let device = to.device + to_offset as u64;
                    self.copy_to_device(device, host, width, stream, Return::Early, caller)?;
                }
                (DEVICE_MEMORY, HOST_MEMORY) => {
                    let host = HostAddress(to.host.0 + to_offset);
                    let device = from.device + from_offset as u64;
                    self.copy_to_host(host, device, width, stream, Return::Early, caller)?;
                }
                kinds => return Code::NOT_SUPPORTED.err(format!("a 2D copy between {kinds:?}")),
            }
        }
        Ok(())
    }

    /// `cuMemcpyHtoD`.
    pub(crate) fn copy_to_device_now(
        &mut self,
        to: u64,
        from: HostAddress,
        bytes: usize,
        caller: &Caller,
    ) -> Result<()> {
        self.copy_to_device(to, from, bytes, LEGACY, Return::Done, caller)
    }

    /// `cuMemcpyDtoH`.
    pub(crate) fn copy_to_host_now(
        &mut self,
        to: HostAddress,
        from: u64,
        bytes: usize,
        caller: &Caller,
    ) -> Result<()> {
        self.copy_to_host(to, from, bytes, LEGACY, Return::Done, caller)
    }
}
