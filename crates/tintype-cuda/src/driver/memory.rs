//! Device memory, page-locked host memory, and copies between the two.

#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use cudarc::driver::sys::{CUDA_MEMCPY2D, CUmemorytype};

use super::{Context, DriverError, Queue};

/// Device memory. The address is the same until it is dropped.
#[derive(Debug)]
pub(crate) struct DeviceBuffer {
    address: u64,
    len: u64,
    context: Arc<Context>,
}

impl DeviceBuffer {
    /// `len` bytes, aligned to 512. Their content is undefined.
    ///
    /// # Errors
    /// When there is no room.
    pub(crate) fn alloc(context: &Arc<Context>, len: u64) -> Result<Self, DriverError> {
        let mut address = 0;
        // The driver allocates no empty buffers. A size beyond the address space does not fit.
        let bytes = usize::try_from(len.max(1)).unwrap_or(usize::MAX);
        // SAFETY: the pointer is valid for the one address written.
        unsafe { call!(context, cuMemAlloc_v2(&raw mut address, bytes)) }?;
        Ok(Self { address, len, context: Arc::clone(context) })
    }

    /// Address of the first byte.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Size in bytes, as asked for.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Queues a write of `byte` over all of it.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn fill(&mut self, byte: u8, queue: &Queue) -> Result<(), DriverError> {
        let len = self.len as usize;
        // SAFETY: exactly the bytes of this allocation are written, and it is borrowed mutably.
        unsafe { call!(self.context, cuMemsetD8Async(self.address, byte, len, queue.raw())) }
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        let address = self.address;
        // SAFETY: it was allocated by `alloc` and is freed once. The driver waits for queued work
        // that uses it.
        self.context.release(|| unsafe { call!(self.context, cuMemFree_v2(address)) });
    }
}

/// A copy between closely packed bytes of a pinned buffer and `height` runs of `width` bytes in
/// device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyPart {
    /// First byte in the pinned buffer.
    pub(crate) host: usize,
    /// Address of the first byte in device memory.
    pub(crate) device: u64,
    /// Bytes of a run.
    pub(crate) width: usize,
    /// Number of runs.
    pub(crate) height: usize,
    /// Bytes from the start of one run to the start of the next, in device memory.
    pub(crate) pitch: usize,
}

/// Page-locked host memory, which the device copies from and to by itself.
///
/// It is cached like any other: the driver's write-combined kind is very slow to read.
#[derive(Debug)]
pub(crate) struct PinnedBuffer {
    start: NonNull<u8>,
    len: usize,
    context: Arc<Context>,
}

// SAFETY: the memory is this value's own, as a vector's is.
unsafe impl Send for PinnedBuffer {}

impl PinnedBuffer {
    /// `len` bytes, at least one.
    ///
    /// # Errors
    /// When the system has no memory that can be locked.
    pub(crate) fn alloc(context: &Arc<Context>, len: usize) -> Result<Self, DriverError> {
        let mut start = ptr::null_mut();
        // SAFETY: the pointer is valid for the one address written.
        unsafe { call!(context, cuMemHostAlloc(&raw mut start, len, 0)) }?;
        let start = NonNull::new(start.cast()).expect("an allocation that succeeded");
        // SAFETY: the driver allocated `len` bytes there. They are written before anything reads
        // them, since a slice may not show memory that nothing wrote.
        unsafe { start.write_bytes(0, len) };
        Ok(Self { start, len, context: Arc::clone(context) })
    }

    /// Where kernels find it.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn device_address(&self) -> Result<u64, DriverError> {
        let (mut address, start) = (0, self.start.as_ptr().cast());
        // SAFETY: the pointer is valid for the one address written, and the memory is allocated.
        unsafe { call!(self.context, cuMemHostGetDevicePointer_v2(&raw mut address, start, 0)) }?;
        Ok(address)
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A part of it, to be read.
    ///
    /// # Safety
    /// No copy into these bytes is queued or running.
    pub(crate) unsafe fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.assert_contains(&range);
        // SAFETY: the range lies in the allocation, all of which was written, and as the caller
        // promises the device writes none of it.
        unsafe { slice::from_raw_parts(self.start.add(range.start).as_ptr(), range.len()) }
    }

    /// A part of it, to be written.
    ///
    /// # Safety
    /// No copy from or into these bytes is queued or running.
    pub(crate) unsafe fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.assert_contains(&range);
        // SAFETY: the range lies in the allocation, all of which was written; this value is
        // borrowed mutably, and as the caller promises the device does not touch it.
        unsafe { slice::from_raw_parts_mut(self.start.add(range.start).as_ptr(), range.len()) }
    }

    /// Queues a copy from this buffer to the device.
    ///
    /// # Errors
    /// What the driver refused.
    ///
    /// # Safety
    /// The runs lie in live device memory that nothing but work of `queue` uses until the copy has
    /// run. Until then nobody writes the host bytes, and this buffer is not dropped.
    pub(crate) unsafe fn upload(&self, part: &CopyPart, queue: &Queue) -> Result<(), DriverError> {
        let host = self.at(part);
        let CopyPart { device, width, height, .. } = *part;
        if height == 1 {
            // SAFETY: the host bytes lie in this allocation; the rest is the caller's promise.
            return unsafe {
                let host = host.as_ptr().cast();
                call!(self.context, cuMemcpyHtoDAsync_v2(device, host, width, queue.raw()))
            };
        }
        let copy = CUDA_MEMCPY2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: host.as_ptr().cast(),
            srcPitch: width,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            dstDevice: device,
            dstPitch: part.pitch,
            ..extent(width, height)
        };
        // SAFETY: as above; the driver reads the description before it returns.
        unsafe { call!(self.context, cuMemcpy2DAsync_v2(&raw const copy, queue.raw())) }
    }

    /// Queues a copy from the device into this buffer.
    ///
    /// # Errors
    /// What the driver refused.
    ///
    /// # Safety
    /// The runs lie in live device memory. Until the copy has run nobody touches the host bytes
    /// but work of `queue`, and this buffer is not dropped.
    pub(crate) unsafe fn download(
        &mut self,
        part: &CopyPart,
        queue: &Queue,
    ) -> Result<(), DriverError> {
        let host = self.at(part);
        let CopyPart { device, width, height, .. } = *part;
        if height == 1 {
            // SAFETY: the host bytes lie in this allocation; the rest is the caller's promise.
            return unsafe {
                let host = host.as_ptr().cast();
                call!(self.context, cuMemcpyDtoHAsync_v2(host, device, width, queue.raw()))
            };
        }
        let copy = CUDA_MEMCPY2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            srcDevice: device,
            srcPitch: part.pitch,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: host.as_ptr().cast(),
            dstPitch: width,
            ..extent(width, height)
        };
        // SAFETY: as above; the driver reads the description before it returns.
        unsafe { call!(self.context, cuMemcpy2DAsync_v2(&raw const copy, queue.raw())) }
    }

    /// Where the part begins; checks that it ends inside.
    fn at(&self, part: &CopyPart) -> NonNull<u8> {
        self.assert_contains(&(part.host..part.host + part.width * part.height));
        // SAFETY: the offset was just checked against the allocation.
        unsafe { self.start.add(part.host) }
    }

    fn assert_contains(&self, range: &Range<usize>) {
        let Range { start, end } = *range;
        assert!(start <= end && end <= self.len, "{start}..{end} of {} pinned bytes", self.len);
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        let start = self.start.as_ptr().cast();
        // SAFETY: it was allocated by `alloc` and is freed once; whoever queued a copy promised
        // not to drop it before the copy has run.
        self.context.release(|| unsafe { call!(self.context, cuMemFreeHost(start)) });
    }
}

/// A 2D copy of this extent, without source and destination.
fn extent(width: usize, height: usize) -> CUDA_MEMCPY2D {
    CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: ptr::null(),
        srcDevice: 0,
        srcArray: ptr::null_mut(),
        srcPitch: 0,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        dstHost: ptr::null_mut(),
        dstDevice: 0,
        dstArray: ptr::null_mut(),
        dstPitch: 0,
        WidthInBytes: width,
        Height: height,
    }
}
