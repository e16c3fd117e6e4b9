//! When copies read and write, and which ranges they accept.

use crate::gpu::waited;
use crate::row::Check::{Alone, Shared};
use crate::row::{Row, Source};

/// Far more than a driver stages at the call.
const LARGE: usize = 8 << 20;

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "COPY-01",
        "pinned memory is read when the copy runs, not at the call",
        "9",
        Shared(|gpu| {
            let mut address = 0;
            gpu.api.cuMemHostAlloc(&mut address, 4096, 0);
            let host = address as *mut u8;
            write(host, 1);
            gpu.delay(gpu.stream);
            gpu.api.cuMemcpyHtoDAsync_v2(gpu.memory, host, 4, gpu.stream);
            write(host, 9);
            gpu.api.cuStreamSynchronize(gpu.stream);
            gpu.peek(gpu.memory)
        }),
    ),
    Row::seen(
        "COPY-02",
        "a little pageable memory is read at the call",
        "0, does not wait, 1",
        Shared(|gpu| {
            let mut host = [1u8, 0, 0, 0];
            gpu.delay(gpu.stream);
            let address = host.as_mut_ptr();
            let call = waited(|| gpu.api.cuMemcpyHtoDAsync_v2(gpu.memory, address, 4, gpu.stream));
            write(address, 9);
            gpu.api.cuStreamSynchronize(gpu.stream);
            format!("{call}, {}", gpu.peek(gpu.memory))
        }),
    ),
    Row::seen(
        "COPY-03",
        "a copy from 8 MiB of pageable memory waits for its stream",
        "0, waits",
        Shared(|gpu| {
            let host = vec![1u8; LARGE];
            let mut device = 0;
            gpu.api.cuMemAlloc_v2(&mut device, LARGE);
            gpu.delay(gpu.stream);
            let found =
                waited(|| gpu.api.cuMemcpyHtoDAsync_v2(device, host.as_ptr(), LARGE, gpu.stream));
            gpu.api.cuMemFree_v2(device);
            found
        }),
    ),
    Row::seen(
        "COPY-04",
        "any copy to pageable memory waits for its stream",
        "0, waits",
        Shared(|gpu| {
            let mut host = [0u8; 4];
            gpu.delay(gpu.stream);
            let address = host.as_mut_ptr();
            waited(|| gpu.api.cuMemcpyDtoHAsync_v2(address, gpu.memory, 4, gpu.stream))
        }),
    ),
    Row::seen(
        "COPY-05",
        "cuMemcpyHtoD does not wait for a non-blocking stream",
        "0, does not wait",
        Shared(|gpu| {
            let host = [0u8; 4];
            gpu.delay(gpu.stream);
            let found = waited(|| gpu.api.cuMemcpyHtoD_v2(gpu.memory, host.as_ptr(), 4));
            gpu.api.cuCtxSynchronize();
            found
        }),
    ),
    Row::seen(
        "COPY-06",
        "a copy past the end of an allocation, by 16 bytes",
        "1",
        Shared(|gpu| {
            let host = [0u8; 4112];
            gpu.api.cuMemcpyHtoD_v2(gpu.memory, host.as_ptr(), 4112).to_string()
        }),
    ),
    Row::seen(
        "COPY-07",
        "a copy past the end of an allocation, by 8 MiB",
        "1",
        Shared(|gpu| {
            let host = vec![0u8; LARGE];
            gpu.api.cuMemcpyHtoD_v2(gpu.memory, host.as_ptr(), LARGE).to_string()
        }),
    ),
    Row::seen(
        "COPY-08",
        "a copy to an address that is no memory",
        "1",
        Alone(|gpu| {
            let host = [0u8; 64];
            gpu.api.cuMemcpyHtoD_v2(64, host.as_ptr(), 64).to_string()
        }),
    ),
    Row::seen(
        "COPY-09",
        "a copy of no bytes",
        "0",
        Shared(|gpu| gpu.api.cuMemcpyHtoD_v2(gpu.memory, [0u8; 1].as_ptr(), 0).to_string()),
    )
    .from(Source::Manual),
    Row::seen(
        "COPY-10",
        "work on the legacy stream waits for that of a blocking stream",
        "1",
        Alone(|gpu| {
            let mut blocking = 0;
            gpu.api.cuStreamCreate(&mut blocking, 0);
            gpu.clear();
            gpu.delay(blocking);
            gpu.store(blocking, gpu.memory, 1);
            gpu.peek(gpu.memory)
        }),
    )
    .from(Source::Manual),
    Row::seen(
        "COPY-11",
        "64 KiB of pageable memory are read at the call",
        "0, does not wait, 1",
        Shared(|gpu| {
            let mut host = vec![1u8, 0, 0, 0];
            host.resize(64 << 10, 0);
            let (address, bytes, mut device) = (host.as_mut_ptr(), host.len(), 0);
            gpu.api.cuMemAlloc_v2(&mut device, bytes);
            gpu.delay(gpu.stream);
            let call = waited(|| gpu.api.cuMemcpyHtoDAsync_v2(device, address, bytes, gpu.stream));
            write(address, 9);
            gpu.api.cuStreamSynchronize(gpu.stream);
            let found = gpu.peek(device);
            gpu.api.cuMemFree_v2(device);
            format!("{call}, {found}")
        }),
    )
    .from(Source::Manual),
    Row::seen(
        "COPY-12",
        "a kernel writes pinned memory, and a synchronised host sees it",
        "0, 7",
        Shared(|gpu| {
            let (mut host, mut device) = (0, 0);
            gpu.api.cuMemHostAlloc(&mut host, 4096, 0);
            write(host as *mut u8, 1);
            let code = gpu.api.cuMemHostGetDevicePointer_v2(&mut device, host, 0);
            gpu.store(gpu.stream, device, 7);
            gpu.api.cuStreamSynchronize(gpu.stream);
            let found = read(host as *const u8);
            gpu.api.cuMemFreeHost(host);
            format!("{code}, {found}")
        }),
    )
    .from(Source::Manual),
    Row::seen(
        "COPY-13",
        "rows of a little pageable memory are read at the call",
        "0, does not wait, 1",
        Shared(|gpu| {
            let mut host = [0u8; 64];
            let address = host.as_mut_ptr();
            write(address, 1);
            gpu.delay(gpu.stream);
            // x, y, kind of memory, host, device, array and pitch of both sides; width and height.
            let from = [0, 0, 1, address as u64, 0, 0, 16];
            let to = [0, 0, 2, 0, gpu.memory, 0, 64];
            let copy = [&from[..], &to, &[16, 4]].concat().try_into().expect("16 fields");
            let call = waited(|| gpu.api.cuMemcpy2DAsync_v2(&copy, gpu.stream));
            write(address, 9);
            gpu.api.cuStreamSynchronize(gpu.stream);
            format!("{call}, {}", gpu.peek(gpu.memory))
        }),
    )
    .from(Source::Manual),
];

/// A word of host memory that the device may have changed.
#[allow(unsafe_code)]
fn read(host: *const u8) -> u32 {
    // SAFETY: the callers pass the first of four bytes or more that they own.
    unsafe { host.cast::<u32>().read_volatile() }
}

/// Changes a word of host memory behind the compiler's back.
#[allow(unsafe_code)]
fn write(host: *mut u8, value: u32) {
    // SAFETY: the callers pass the first of four bytes or more that they own.
    unsafe { host.cast::<u32>().write_unaligned(value) }
}
