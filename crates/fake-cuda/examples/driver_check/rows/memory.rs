//! Allocation, and addresses apart from memory.

use crate::api::{MemAccess, MemProp};
use crate::gpu::{Gpu, waited};
use crate::row::Check::{Alone, Shared};
use crate::row::Row;

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "MEM-01",
        "cuMemAlloc of 0 bytes",
        "1",
        Shared(|gpu| gpu.api.cuMemAlloc_v2(&mut 0, 0).to_string()),
    ),
    Row::seen(
        "MEM-02",
        "cuMemAlloc of more than there is",
        "2",
        Shared(|gpu| gpu.api.cuMemAlloc_v2(&mut 0, 1 << 40).to_string()),
    ),
    Row::seen(
        "MEM-03",
        "cuMemFree of address 0",
        "0",
        Shared(|gpu| gpu.api.cuMemFree_v2(0).to_string()),
    ),
    Row::seen(
        "MEM-04",
        "cuMemFree of an inner address",
        "1",
        Shared(|gpu| gpu.api.cuMemFree_v2(gpu.memory + 16).to_string()),
    ),
    Row::seen(
        "MEM-05",
        "cuMemFree, then again",
        "0, 1",
        Shared(|gpu| {
            let mut address = 0;
            gpu.api.cuMemAlloc_v2(&mut address, 4096);
            let first = gpu.api.cuMemFree_v2(address);
            format!("{first}, {}", gpu.api.cuMemFree_v2(address))
        }),
    ),
    Row::seen(
        "MEM-06",
        "small allocations are 512-byte aligned",
        "yes",
        Shared(|gpu| {
            let aligned = (0..5).all(|_| {
                let mut address = 1;
                gpu.api.cuMemAlloc_v2(&mut address, 1);
                address % 512 == 0
            });
            if aligned { "yes" } else { "no" }.to_owned()
        }),
    ),
    Row::seen(
        "MEM-07",
        "cuMemFree waits for work that is queued",
        "0, waits",
        Shared(|gpu| {
            let mut address = 0;
            gpu.api.cuMemAlloc_v2(&mut address, 4096);
            gpu.delay(gpu.stream);
            waited(|| gpu.api.cuMemFree_v2(address))
        }),
    ),
    Row::seen(
        "MEM-08",
        "memory mapped anew under a graph: the graph uses it",
        "1, sync 0, 1",
        Shared(|gpu| {
            let mapped = Mapped::new(gpu);
            let mut physical = mapped.map(gpu);
            gpu.api.cuMemsetD8_v2(mapped.address, 0, 4);
            let graph = gpu.captured(|| gpu.increment(gpu.stream, mapped.address));
            let exec = gpu.instantiate(graph);
            gpu.api.cuGraphLaunch(exec, gpu.stream);
            gpu.api.cuCtxSynchronize();
            let before = gpu.peek(mapped.address);
            mapped.unmap(gpu, physical);
            physical = mapped.map(gpu);
            gpu.api.cuMemsetD8_v2(mapped.address, 0, 4);
            gpu.api.cuCtxSynchronize();
            gpu.api.cuGraphLaunch(exec, gpu.stream);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            let after = gpu.peek(mapped.address);
            mapped.unmap(gpu, physical);
            format!("{before}, sync {sync}, {after}")
        }),
    ),
    Row::seen(
        "MEM-09",
        "a graph that uses an unmapped range",
        "700",
        Alone(|gpu| {
            let mapped = Mapped::new(gpu);
            let physical = mapped.map(gpu);
            let graph = gpu.captured(|| gpu.increment(gpu.stream, mapped.address));
            let exec = gpu.instantiate(graph);
            mapped.unmap(gpu, physical);
            gpu.api.cuGraphLaunch(exec, gpu.stream);
            gpu.api.cuStreamSynchronize(gpu.stream).to_string()
        }),
    ),
];

/// Bytes of a mapping.
const MAPPED: usize = 64 << 20;

/// A reserved range.
struct Mapped {
    address: u64,
}

impl Mapped {
    fn new(gpu: &Gpu) -> Mapped {
        let mut address = 0;
        gpu.api.cuMemAddressReserve(&mut address, MAPPED, 0, 0, 0);
        Mapped { address }
    }

    fn map(&self, gpu: &Gpu) -> usize {
        let mut physical = 0;
        let prop = MemProp { words: [1, 0, 1, 0], rest: [0; 2] };
        gpu.api.cuMemCreate(&mut physical, MAPPED, &prop, 0);
        gpu.api.cuMemMap(self.address, MAPPED, 0, physical, 0);
        gpu.api.cuMemSetAccess(self.address, MAPPED, &MemAccess([1, 0, 3]), 1);
        physical
    }

    fn unmap(&self, gpu: &Gpu, physical: usize) {
        gpu.api.cuMemUnmap(self.address, MAPPED);
        gpu.api.cuMemRelease(physical);
    }
}
