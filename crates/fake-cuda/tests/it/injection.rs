//! Faults on demand, counters and leaks.

use cudarc::driver::{result, sys};

use crate::{Turn, code};

#[test]
fn the_nth_allocation_fails() {
    let turn = Turn::take();
    let _context = turn.context();
    turn.driver.set("fail_alloc", 2).unwrap();
    // SAFETY: nothing accesses the memory.
    let results = [(); 3].map(|()| code(unsafe { result::malloc_sync(16) }));
    use sys::CUresult as R;
    assert_eq!(results, [R::CUDA_SUCCESS, R::CUDA_ERROR_OUT_OF_MEMORY, R::CUDA_SUCCESS]);
}

#[test]
fn a_lost_device_stays_lost() {
    let turn = Turn::take();
    let context = turn.context();
    turn.driver.set("device_lost", 1).unwrap();
    let lost = sys::CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE;
    assert_eq!(code(context.synchronize()), lost);
    assert_eq!(code(result::mem_get_info()), lost);
    assert_eq!(code(cudarc::driver::CudaContext::new(0)), lost);
}

#[test]
fn what_is_left_when_a_context_ends_is_a_leak() {
    let turn = Turn::take();
    let context = turn.context();
    let stream = context.new_stream().unwrap();
    // SAFETY: nothing accesses the memory.
    unsafe { result::malloc_sync(48).unwrap() };
    let living = turn.driver.report("living").unwrap();
    assert!(living.contains("of 48 bytes") && living.contains("stream"), "{living}");
    drop(stream);
    assert_eq!(turn.driver.get("leaks").unwrap(), 0);
    drop(context);
    let leaks = turn.driver.report("leaks").unwrap();
    assert!(leaks.contains("of 48 bytes") && !leaks.contains("stream"), "{leaks}");
    assert_eq!(turn.driver.get("living").unwrap(), 0);
}

#[test]
fn a_pool_gives_back_in_stream_order() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    let (free, _) = result::mem_get_info().unwrap();
    let slice = stream.alloc_zeros::<u8>(4096).unwrap();
    assert_eq!(result::mem_get_info().unwrap().0, free - 4096);
    drop(slice);
    assert_eq!(result::mem_get_info().unwrap().0, free - 4096, "the stream is not there yet");
    stream.synchronize().unwrap();
    assert_eq!(result::mem_get_info().unwrap().0, free);
}
