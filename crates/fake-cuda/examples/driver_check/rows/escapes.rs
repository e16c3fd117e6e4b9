//! What a capture takes along as a node, what it allows, and what runs at once beside it.

use std::ffi::c_void;

use crate::gpu::{Gpu, LEGACY, NON_BLOCKING, PTX};
use crate::inside::inside;
use crate::row::Check::{Blocking, Shared};
use crate::row::Row;

/// Only the kernel that `inside` captures.
const ALONE: &str = "0/0 nodes [0]";
const COPY: &str = "0/0 nodes [0, 1]";
const IMPLICIT: &str = "906/901";

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "ESC-01",
        "a pageable cuMemcpyHtoDAsync becomes a node",
        COPY,
        Shared(|gpu| {
            let host = [0u8; 64];
            inside(gpu, |gpu, _| {
                gpu.api.cuMemcpyHtoDAsync_v2(gpu.memory, host.as_ptr(), 64, gpu.stream)
            })
        }),
    ),
    Row::seen(
        "ESC-02",
        "a pinned cuMemcpyHtoDAsync becomes a node",
        COPY,
        Shared(|gpu| {
            let host = pinned(gpu);
            inside(gpu, |gpu, _| gpu.api.cuMemcpyHtoDAsync_v2(gpu.memory, host, 64, gpu.stream))
        }),
    ),
    Row::seen(
        "ESC-03",
        "a pageable cuMemcpyDtoHAsync becomes a node",
        COPY,
        Shared(|gpu| {
            let mut host = vec![0u8; 64];
            let address = host.as_mut_ptr();
            inside(gpu, |gpu, _| gpu.api.cuMemcpyDtoHAsync_v2(address, gpu.memory, 64, gpu.stream))
        }),
    ),
    Row::seen(
        "ESC-04",
        "cuMemsetD8Async becomes a node",
        "0/0 nodes [0, 2]",
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuMemsetD8Async(gpu.memory, 0, 64, gpu.stream))),
    ),
    Row::seen(
        "ESC-05",
        "cuLaunchHostFunc becomes a node",
        "0/0 nodes [0, 3]",
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuLaunchHostFunc(gpu.stream, nothing, 0))),
    ),
    Row::seen(
        "ESC-06",
        "cuMemAllocAsync and cuMemFreeAsync become nodes",
        "0/0 nodes [0, 10, 11]",
        Shared(|gpu| {
            inside(gpu, |gpu, _| {
                let mut address = 0;
                match gpu.api.cuMemAllocAsync(&mut address, 4096, gpu.stream) {
                    0 => gpu.api.cuMemFreeAsync(address, gpu.stream),
                    code => code,
                }
            })
        }),
    ),
    Row::seen(
        "ESC-07",
        "a launch on another stream runs at once, silently",
        ALONE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.store(gpu.other, gpu.spare, 1))),
    ),
    Row::seen(
        "ESC-08",
        "a copy on another stream runs at once, silently",
        ALONE,
        Shared(|gpu| {
            let host = pinned(gpu);
            inside(gpu, |gpu, _| gpu.api.cuMemcpyHtoDAsync_v2(gpu.spare, host, 64, gpu.other))
        }),
    ),
    Row::seen(
        "ESC-09",
        "a graph on another stream runs at once, silently",
        ALONE,
        Shared(|gpu| {
            let exec = gpu.instantiate(gpu.captured(|| gpu.increment(gpu.stream, gpu.spare)));
            inside(gpu, |gpu, _| gpu.api.cuGraphLaunch(exec, gpu.other))
        }),
    ),
    Row::seen("ESC-10", "a launch on the legacy stream runs at once", ALONE, Shared(legacy_launch)),
    Row::seen("ESC-11", "cuMemcpyHtoD runs at once, silently", ALONE, Shared(legacy_copy)),
    Row::seen(
        "ESC-12",
        "cuMemcpyDtoH runs at once, silently",
        ALONE,
        Shared(|gpu| {
            let mut host = vec![0u8; 64];
            let address = host.as_mut_ptr();
            inside(gpu, |gpu, _| gpu.api.cuMemcpyDtoH_v2(address, gpu.memory, 64))
        }),
    ),
    Row::seen("ESC-13", "cuMemsetD8 runs at once, silently", ALONE, Shared(legacy_fill)),
    Row::seen(
        "ESC-14",
        "a blocking stream: a launch on the legacy stream",
        IMPLICIT,
        Blocking(legacy_launch),
    ),
    Row::seen("ESC-15", "a blocking stream: cuMemcpyHtoD", IMPLICIT, Blocking(legacy_copy)),
    Row::seen("ESC-16", "a blocking stream: cuMemsetD8", IMPLICIT, Blocking(legacy_fill)),
    Row::seen(
        "ESC-17",
        "cuModuleLoadData of PTX is allowed",
        ALONE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.load(PTX, &mut 0))),
    ),
    Row::seen(
        "ESC-18",
        "the first cuModuleGetFunction and launch of a kernel are allowed",
        "0/0 nodes [0, 0]",
        Shared(|gpu| {
            let mut modules = [0; 3];
            for module in &mut modules {
                gpu.load(PTX, module);
            }
            inside(gpu, |gpu, mode| {
                let (code, function) = gpu.function_of(modules[mode as usize], "never");
                if code == 0 {
                    gpu.launch(function, [1, 1, 1, 1, 1, 1, 0], gpu.stream, &[])
                } else {
                    code
                }
            })
        }),
    ),
    Row::seen(
        "ESC-19",
        "cuFuncSetAttribute is allowed",
        ALONE,
        Shared(|gpu| {
            inside(gpu, |gpu, _| gpu.api.cuFuncSetAttribute(gpu.function("small"), 8, 1024))
        }),
    ),
    Row::seen(
        "ESC-20",
        "cuStreamCreate and cuStreamDestroy are allowed",
        ALONE,
        Shared(|gpu| {
            inside(gpu, |gpu, _| {
                let mut stream = 0;
                match gpu.api.cuStreamCreate(&mut stream, NON_BLOCKING) {
                    0 => gpu.api.cuStreamDestroy_v2(stream),
                    code => code,
                }
            })
        }),
    ),
    Row::seen(
        "ESC-21",
        "cuEventCreate is allowed",
        ALONE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuEventCreate(&mut 0, 0))),
    ),
    Row::seen(
        "ESC-22",
        "cuMemGetInfo is allowed",
        ALONE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuMemGetInfo_v2(&mut 0, &mut 0))),
    ),
];

extern "C" fn nothing(_: *mut c_void) {}

fn pinned(gpu: &Gpu) -> *const u8 {
    let mut address = 0;
    gpu.api.cuMemHostAlloc(&mut address, 4096, 0);
    address as *const u8
}

fn legacy_launch(gpu: &Gpu) -> String {
    inside(gpu, |gpu, _| gpu.store(LEGACY, gpu.memory, 1))
}

fn legacy_copy(gpu: &Gpu) -> String {
    let host = [0u8; 64];
    inside(gpu, |gpu, _| gpu.api.cuMemcpyHtoD_v2(gpu.memory, host.as_ptr(), 64))
}

fn legacy_fill(gpu: &Gpu) -> String {
    inside(gpu, |gpu, _| gpu.api.cuMemsetD8_v2(gpu.memory, 0, 64))
}
