//! What else there is: virtual memory, registered memory, occupancy, what a capture says of itself.

use std::ffi::{CString, c_void};

use cudarc::driver::{result, sys};

use crate::{Turn, code};

const GRANULE: usize = 2 << 20;

fn location() -> sys::CUmemLocation {
    sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: 0 }
}

fn peek(address: u64) -> Result<u8, cudarc::driver::DriverError> {
    let mut byte = [0u8];
    // SAFETY: one byte on both sides; the driver checks the device's.
    unsafe { result::memcpy_dtoh_sync(&mut byte, address) }.map(|()| byte[0])
}

/// Physical memory mapped at `address`, accessible.
///
/// # Safety
/// `handle` and the reservation must be alive.
unsafe fn map(address: u64, handle: sys::CUmemGenericAllocationHandle) {
    let access = sys::CUmemAccessDesc {
        location: location(),
        flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    };
    // SAFETY: as the caller promises.
    unsafe {
        sys::cuMemMap(address, GRANULE, 0, handle, 0).result().unwrap();
        sys::cuMemSetAccess(address, GRANULE, &access, 1).result().unwrap();
    }
}

#[test]
fn physical_memory_keeps_its_contents_from_mapping_to_mapping() {
    let turn = Turn::take();
    let _context = turn.context();
    let (free, _) = result::mem_get_info().unwrap();
    // SAFETY: a plain structure, for which zero is a value in every field but the two set.
    let prop = sys::CUmemAllocationProp {
        type_: sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        location: location(),
        ..unsafe { std::mem::zeroed() }
    };
    let (mut base, mut handle) = (0, 0);
    // SAFETY: mapped, unmapped and freed in the order that the API asks for.
    unsafe {
        sys::cuMemAddressReserve(&mut base, 2 * GRANULE, 0, 0, 0).result().unwrap();
        sys::cuMemCreate(&mut handle, GRANULE, &prop, 0).result().unwrap();
        assert_eq!(result::mem_get_info().unwrap().0, free - GRANULE);
        map(base, handle);
        sys::cuMemsetD8_v2(base, 42, 1).result().unwrap();
        sys::cuMemUnmap(base, GRANULE).result().unwrap();
        assert_eq!(code(peek(base)), sys::CUresult::CUDA_ERROR_INVALID_VALUE);
        map(base + GRANULE as u64, handle);
        sys::cuMemRelease(handle).result().unwrap();
        assert_eq!(peek(base + GRANULE as u64).unwrap(), 42);
        let busy = sys::cuMemAddressFree(base, 2 * GRANULE);
        assert_eq!(busy, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
        sys::cuMemUnmap(base + GRANULE as u64, GRANULE).result().unwrap();
        sys::cuMemAddressFree(base, 2 * GRANULE).result().unwrap();
    }
    assert_eq!(result::mem_get_info().unwrap().0, free);
    assert_eq!(turn.driver.get("living").unwrap(), 0);
}

#[test]
fn registered_memory_is_pinned_until_it_is_not() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    let mut host = vec![1u8; 100_000];
    let device = stream.alloc_zeros::<u8>(host.len()).unwrap();
    stream.synchronize().unwrap();
    let (start, len) = (host.as_mut_ptr().cast::<c_void>(), host.len());
    let to = cudarc::driver::DevicePtr::device_ptr(&device, &stream).0;
    use sys::CUresult as R;
    // SAFETY: the buffer outlives its registration and the copies.
    unsafe {
        sys::cuMemHostRegister_v2(start, len, 0).result().unwrap();
        let again = sys::cuMemHostRegister_v2(start, 16, 0);
        assert_eq!(again, R::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        sys::cuMemcpyHtoDAsync_v2(to, start, len, stream.cu_stream()).result().unwrap();
        assert_eq!(peek(to).unwrap(), 0, "from pinned memory, the copy is still queued");
        sys::cuMemHostUnregister(start).result().unwrap();
        assert_eq!(peek(to).unwrap(), 1, "unregistering waits");
        let twice = sys::cuMemHostUnregister(start);
        assert_eq!(twice, R::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    }
}

#[test]
fn occupancy_follows_threads_and_shared_memory() {
    let turn = Turn::take();
    let _context = turn.context();
    let image = CString::new(include_str!("kernels.ptx")).unwrap();
    // SAFETY: terminated text; the module outlives the function.
    let function = unsafe {
        let module = result::module::load_data(image.as_ptr().cast()).unwrap();
        result::module::get_function(module, c"add".to_owned()).unwrap()
    };
    let blocks = |threads, shared| {
        let mut blocks = 0;
        // SAFETY: a function of a living module.
        unsafe {
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, function, threads, shared)
        }
        .result()
        .unwrap();
        blocks
    };
    assert_eq!([blocks(1024, 0), blocks(256, 0), blocks(32, 0)], [2, 8, 32]);
    assert_eq!([blocks(128, 48 << 10), blocks(128, 107 << 10), blocks(128, 227 << 10)], [4, 2, 1]);
}

#[test]
fn a_capture_says_where_it_is() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    let mut device = stream.alloc_zeros::<u8>(64).unwrap();
    let raw = stream.cu_stream();
    let info = || {
        let mut status = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
        let (mut nodes, mut count) = (std::ptr::null(), 0);
        let null = std::ptr::null_mut();
        // SAFETY: outputs are locals, or null where they may be.
        unsafe {
            sys::cuStreamGetCaptureInfo_v2(
                raw,
                &mut status,
                null,
                null.cast(),
                &mut nodes,
                &mut count,
            )
            .result()
            .unwrap();
        }
        // SAFETY: while the stream captures, so many nodes, until the next call.
        let types = (0..count).map(|i| unsafe {
            let mut kind = sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY;
            sys::cuGraphNodeGetType(*nodes.add(i), &mut kind).result().unwrap();
            kind
        });
        (status, types.collect::<Vec<_>>())
    };
    use sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMSET as MEMSET;
    use sys::CUstreamCaptureStatus as Status;
    assert_eq!(info(), (Status::CU_STREAM_CAPTURE_STATUS_NONE, vec![]));
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    assert_eq!(info(), (Status::CU_STREAM_CAPTURE_STATUS_ACTIVE, vec![]));
    stream.memset_zeros(&mut device).unwrap();
    assert_eq!(info(), (Status::CU_STREAM_CAPTURE_STATUS_ACTIVE, vec![MEMSET]));
    stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap();
    assert_eq!(info(), (Status::CU_STREAM_CAPTURE_STATUS_NONE, vec![]));
}
