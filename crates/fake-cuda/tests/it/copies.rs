//! Memory and copies: when each reads and writes.

use std::sync::Arc;

use cudarc::driver::{CudaStream, result, sys};

use crate::{Turn, code};

const INVALID: sys::CUresult = sys::CUresult::CUDA_ERROR_INVALID_VALUE;

#[test]
fn copies_go_there_and_back() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    let data: Vec<u32> = (0..1000).collect();
    let device = stream.clone_htod(&data).unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), data);
    let mut other = stream.alloc_zeros::<u32>(1000).unwrap();
    assert_eq!(stream.clone_dtoh(&other).unwrap(), vec![0; 1000]);
    stream.memcpy_dtod(&device, &mut other).unwrap();
    assert_eq!(stream.clone_dtoh(&other).unwrap(), data);
}

/// A device word, a pinned host word, and a stream to copy between them.
struct Words {
    stream: Arc<CudaStream>,
    device: u64,
    host: *mut u32,
}

impl Words {
    fn new(turn: &Turn) -> Words {
        let stream = turn.context().new_stream().unwrap();
        // SAFETY: both are used as single words below, and by nobody else.
        let (device, host) =
            unsafe { (result::malloc_sync(4).unwrap(), result::malloc_host(4, 0).unwrap().cast()) };
        Words { stream, device, host }
    }

    fn set_host(&self, value: u32) {
        // SAFETY: the allocation made above.
        unsafe { self.host.write_volatile(value) };
    }

    fn host(&self) -> u32 {
        // SAFETY: the allocation made above.
        unsafe { self.host.read_volatile() }
    }

    fn upload(&self) {
        // SAFETY: four bytes on both sides.
        let result = unsafe {
            sys::cuMemcpyHtoDAsync_v2(self.device, self.host.cast(), 4, self.stream.cu_stream())
        };
        result.result().unwrap();
    }

    fn download(&self) {
        // SAFETY: four bytes on both sides.
        let result = unsafe {
            sys::cuMemcpyDtoHAsync_v2(self.host.cast(), self.device, 4, self.stream.cu_stream())
        };
        result.result().unwrap();
    }

    /// What the device holds, asked without waiting for the stream.
    fn peek(&self) -> u32 {
        let mut bytes = [0u8; 4];
        // SAFETY: four bytes on both sides.
        unsafe { result::memcpy_dtoh_sync(&mut bytes, self.device).unwrap() };
        u32::from_le_bytes(bytes)
    }
}

#[test]
fn staging_reused_before_its_copy_ran_is_seen() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    words.set_host(1);
    words.upload();
    words.set_host(9);
    words.stream.synchronize().unwrap();
    assert_eq!(words.peek(), 9);
}

#[test]
fn a_missing_synchronise_is_seen() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    words.set_host(5);
    words.upload();
    assert_eq!(words.peek(), u32::MAX, "fresh memory is poisoned, and the upload has not run");
    words.stream.synchronize().unwrap();
    words.set_host(0);
    words.download();
    assert_eq!(words.host(), 0);
    words.stream.synchronize().unwrap();
    assert_eq!(words.host(), 5);
}

#[test]
fn an_event_orders_two_streams() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    words.set_host(5);
    words.upload();
    let event = words.stream.record_event(None).unwrap();
    let other = words.stream.context().new_stream().unwrap();
    other.wait(&event).unwrap();
    let mut bytes = [0u8; 4];
    // SAFETY: four bytes on both sides; to pageable memory the call waits for its stream.
    unsafe {
        result::memcpy_dtoh_async(&mut bytes, words.device, other.cu_stream()).unwrap();
    }
    assert_eq!(u32::from_le_bytes(bytes), 5);
}

#[test]
fn a_loop_of_queries_ends() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    words.set_host(5);
    words.upload();
    let event = words.stream.record_event(None).unwrap();
    let mut polls = 0;
    while !event.is_complete() {
        polls += 1;
        assert!(polls < 10);
    }
    assert!(polls > 0, "queued work is outstanding when it is first asked for");
    assert_eq!(words.peek(), 5);
}

#[test]
fn wrong_addresses_are_refused() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    let bytes = [0u8; 8];
    // SAFETY: the driver checks the device's side, and fails.
    unsafe {
        assert_eq!(code(result::memcpy_htod_sync(words.device, &bytes)), INVALID);
        assert_eq!(code(result::memcpy_htod_sync(64, &bytes)), INVALID);
        assert_eq!(code(result::free_sync(words.device + 4)), INVALID);
        result::free_sync(words.device).unwrap();
        assert_eq!(code(result::free_sync(words.device)), INVALID);
        assert_eq!(code(result::malloc_sync(0)), INVALID);
        assert_eq!(code(result::malloc_sync(1 << 40)), sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    }
}

#[test]
fn freed_memory_that_queued_work_uses_is_a_sticky_fault() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    let other = words.stream.context().new_stream().unwrap();
    words.set_host(1);
    words.upload();
    // SAFETY: on purpose in the wrong order: the free runs before the copy.
    unsafe { result::free_async(words.device, other.cu_stream()).unwrap() };
    other.synchronize().unwrap();
    let illegal = sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_eq!(code(words.stream.synchronize()), illegal);
    assert_eq!(code(result::mem_get_info()), illegal);
    assert!(turn.driver.report("fault").unwrap().contains("device memory"));
}

#[test]
fn rows_are_copied_between_pitches() {
    let turn = Turn::take();
    let words = Words::new(&turn);
    let (stream, host) = (words.stream.clone(), [1u8, 2, 3, 4, 5, 6]);
    let mut device = stream.alloc_zeros::<u8>(8).unwrap();
    let address = cudarc::driver::DevicePtrMut::device_ptr_mut(&mut device, &stream).0;
    use sys::CUmemorytype::{CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST};
    let mut copy = sys::CUDA_MEMCPY2D {
        srcXInBytes: 1,
        srcY: 0,
        srcMemoryType: CU_MEMORYTYPE_HOST,
        srcHost: host.as_ptr().cast(),
        srcDevice: 0,
        srcArray: std::ptr::null_mut(),
        srcPitch: 3,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: address,
        dstArray: std::ptr::null_mut(),
        dstPitch: 4,
        WidthInBytes: 2,
        Height: 2,
    };
    // SAFETY: two rows of two bytes, within both sides.
    unsafe { sys::cuMemcpy2DAsync_v2(&copy, stream.cu_stream()).result().unwrap() };
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [2, 3, 0, 0, 5, 6, 0, 0]);
    copy.srcPitch = 2;
    // SAFETY: the driver refuses rows that are longer than their pitch.
    assert_eq!(unsafe { sys::cuMemcpy2DAsync_v2(&copy, stream.cu_stream()) }, INVALID);
}

#[test]
fn events_measure_the_last_time_that_they_were_recorded() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).unwrap();
    let end = stream.record_event(timed).unwrap();
    let marks = stream.record_event(None).unwrap();
    end.record(&stream).unwrap();
    marks.synchronize().unwrap();
    let elapsed = || {
        let mut ms = -1.0;
        // SAFETY: two living events.
        let result =
            unsafe { sys::cuEventElapsedTime_v2(&mut ms, start.cu_event(), end.cu_event()) };
        (result, ms)
    };
    assert_eq!(elapsed().0, sys::CUresult::CUDA_ERROR_NOT_READY, "recorded again, not yet reached");
    stream.synchronize().unwrap();
    let (result, ms) = elapsed();
    assert_eq!(result, sys::CUresult::CUDA_SUCCESS);
    assert!((0.0..1e4).contains(&ms), "{ms}");
}
