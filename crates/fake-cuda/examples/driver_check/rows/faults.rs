//! Faults of kernels: their codes, and that nothing but a new process helps.

use crate::gpu::{Gpu, ONE_THREAD};
use crate::row::Check::Alone;
use crate::row::Row;

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "FLT-01",
        "a store to an address that is no memory: the launch, then the sync",
        "0, 700",
        Alone(|gpu| {
            let launch = gpu.store(gpu.stream, 0x10, 1);
            format!("{launch}, {}", gpu.api.cuStreamSynchronize(gpu.stream))
        }),
    ),
    Row::seen(
        "FLT-02",
        "every later call gives the same code: launch, sync, alloc, free, unload",
        "700 700 700 700 700 700",
        Alone(|gpu| {
            broken(gpu);
            let codes = [
                gpu.store(gpu.stream, gpu.memory, 1),
                gpu.api.cuStreamSynchronize(gpu.stream),
                gpu.api.cuMemAlloc_v2(&mut 0, 16),
                gpu.api.cuMemFree_v2(gpu.memory),
                gpu.api.cuStreamDestroy_v2(gpu.other),
                gpu.api.cuModuleUnload(gpu.module),
            ];
            codes.map(|code| code.to_string()).join(" ")
        }),
    ),
    Row::seen(
        "FLT-03",
        "after a reset of the context: retain, then cuMemAlloc",
        "700, 709",
        Alone(|gpu| {
            broken(gpu);
            gpu.api.cuDevicePrimaryCtxReset_v2(0);
            let retain = gpu.api.cuDevicePrimaryCtxRetain(&mut 0, 0);
            format!("{retain}, {}", gpu.api.cuMemAlloc_v2(&mut 0, 16))
        }),
    ),
    Row::seen(
        "FLT-04",
        "a misaligned store",
        "716",
        Alone(|gpu| {
            gpu.store(gpu.stream, gpu.memory + 1, 1);
            gpu.api.cuStreamSynchronize(gpu.stream).to_string()
        }),
    ),
    Row::seen(
        "FLT-05",
        "trap",
        "719, then 719",
        Alone(|gpu| {
            gpu.launch(gpu.function("die"), ONE_THREAD, gpu.stream, &[]);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            format!("{sync}, then {}", gpu.store(gpu.stream, gpu.memory, 1))
        }),
    ),
    Row::seen(
        "FLT-06",
        "a store 4 KiB past an allocation of 4 KiB: the same page",
        "0",
        Alone(|gpu| {
            gpu.store(gpu.stream, gpu.memory + 8192, 1);
            gpu.api.cuStreamSynchronize(gpu.stream).to_string()
        }),
    )
    .stricter("700"),
    Row::seen(
        "FLT-07",
        "a store 64 MiB past an allocation of 4 KiB",
        "700",
        Alone(|gpu| {
            gpu.store(gpu.stream, gpu.memory + (64 << 20), 1);
            gpu.api.cuStreamSynchronize(gpu.stream).to_string()
        }),
    ),
    Row::seen(
        "FLT-08",
        "a store to 256 MiB that were freed",
        "700",
        Alone(|gpu| {
            let mut address = 0;
            gpu.api.cuMemAlloc_v2(&mut address, 256 << 20);
            gpu.api.cuMemFree_v2(address);
            gpu.store(gpu.stream, address, 1);
            gpu.api.cuStreamSynchronize(gpu.stream).to_string()
        }),
    ),
    Row::seen(
        "FLT-09",
        "a fault in a graph: launch, sync, launch again",
        "0, 700, 700",
        Alone(|gpu| {
            let graph = gpu.captured(|| {
                gpu.store(gpu.stream, gpu.memory, 1);
                gpu.store(gpu.stream, 0x10, 1);
            });
            let exec = gpu.instantiate(graph);
            let launch = gpu.api.cuGraphLaunch(exec, gpu.stream);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            format!("{launch}, {sync}, {}", gpu.api.cuGraphLaunch(exec, gpu.stream))
        }),
    ),
];

/// Leaves the device with a fault.
fn broken(gpu: &Gpu) {
    gpu.store(gpu.stream, 0x10, 1);
    gpu.api.cuStreamSynchronize(gpu.stream);
}
