//! Replay, update and edges of graphs.

use std::ffi::c_void;

use crate::api::{LaunchAttribute, LaunchConfig};
use crate::gpu::Gpu;
use crate::row::Check::{Alone, Shared};
use crate::row::{Row, Source};

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "GRAPH-01",
        "parameters are copied when a launch is captured",
        "11",
        Shared(|gpu| {
            let mut value = 11;
            let graph = gpu.captured(|| gpu.store(gpu.stream, gpu.memory, value));
            value = 99;
            gpu.store(gpu.stream, gpu.memory, value);
            gpu.api.cuGraphLaunch(gpu.instantiate(graph), gpu.stream);
            gpu.api.cuCtxSynchronize();
            gpu.peek(gpu.memory)
        }),
    ),
    Row::seen(
        "GRAPH-02",
        "an exec outlives its graph and replays as often as launched",
        "10",
        Shared(|gpu| {
            gpu.clear();
            let graph = gpu.captured(|| gpu.increment(gpu.stream, gpu.memory));
            let exec = gpu.instantiate(graph);
            gpu.api.cuGraphDestroy(graph);
            for _ in 0..10 {
                gpu.api.cuGraphLaunch(exec, gpu.stream);
            }
            gpu.api.cuCtxSynchronize();
            gpu.peek(gpu.memory)
        }),
    ),
    Row::seen(
        "GRAPH-03",
        "launches of one exec on two streams do not overlap",
        "2000",
        Shared(|gpu| {
            gpu.clear();
            let graph = gpu.captured(|| gpu.increment(gpu.stream, gpu.memory));
            let exec = gpu.instantiate(graph);
            for _ in 0..1000 {
                gpu.api.cuGraphLaunch(exec, gpu.stream);
                gpu.api.cuGraphLaunch(exec, gpu.other);
            }
            gpu.api.cuCtxSynchronize();
            gpu.peek(gpu.memory)
        }),
    ),
    Row::seen(
        "GRAPH-04",
        "an exec destroyed while its launch is queued still runs",
        "0, sync 0, 1",
        Shared(|gpu| {
            gpu.clear();
            let graph = gpu.captured(|| gpu.increment(gpu.stream, gpu.memory));
            let exec = gpu.instantiate(graph);
            gpu.delay(gpu.stream);
            gpu.api.cuGraphLaunch(exec, gpu.stream);
            let code = gpu.api.cuGraphExecDestroy(exec);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            format!("{code}, sync {sync}, {}", gpu.peek(gpu.memory))
        }),
    ),
    Row::seen(
        "GRAPH-05",
        "cuGraphExecUpdate with other parameters",
        "0 result 0, value 2",
        Shared(|gpu| {
            let (exec, _) = store_then_increment(gpu, 1);
            let (_, other) = store_then_increment(gpu, 2);
            let found = update(gpu, exec, other);
            format!("{found}, value {}", replay(gpu, exec))
        }),
    ),
    Row::seen(
        "GRAPH-06",
        "cuGraphExecUpdate with fewer nodes: the exec stays as it was",
        "910, value 1",
        Shared(|gpu| {
            let (exec, _) = store_then_increment(gpu, 1);
            let fewer = gpu.captured(|| gpu.store(gpu.stream, gpu.memory, 3));
            let code = gpu.api.cuGraphExecUpdate_v2(exec, fewer, &mut [0; 3]);
            format!("{code}, value {}", replay(gpu, exec))
        }),
    ),
    Row::seen(
        "GRAPH-07",
        "cuGraphExecUpdate with two kernels swapped",
        "0 result 0",
        Shared(|gpu| {
            let (exec, _) = store_then_increment(gpu, 1);
            let swapped = gpu.captured(|| {
                gpu.increment(gpu.stream, gpu.spare);
                gpu.store(gpu.stream, gpu.memory, 1);
            });
            update(gpu, exec, swapped)
        }),
    ),
    Row::seen(
        "GRAPH-08",
        "programmatic launches become edges of type 1 from port 1",
        "edges [(1, 1), (1, 1)], launch 0, sync 0",
        Alone(|gpu| {
            let graph = gpu.captured(|| [(); 3].map(|()| programmatic(gpu)));
            let edges = edges(gpu, graph);
            let launch = gpu.api.cuGraphLaunch(gpu.instantiate(graph), gpu.stream);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            format!("edges {edges:?}, launch {launch}, sync {sync}")
        }),
    ),
    Row::seen(
        "GRAPH-09",
        "a graph whose allocation is not freed cannot be launched again",
        "0, 1",
        Alone(|gpu| {
            let mut address = 0;
            let graph = gpu.captured(|| gpu.api.cuMemAllocAsync(&mut address, 4096, gpu.stream));
            let exec = gpu.instantiate(graph);
            let first = gpu.api.cuGraphLaunch(exec, gpu.stream);
            format!("{first}, {}", gpu.api.cuGraphLaunch(exec, gpu.stream))
        }),
    )
    .from(Source::Manual),
];

/// An exec, and its graph, that stores `value` and increments the spare word.
fn store_then_increment(gpu: &Gpu, value: u64) -> (usize, usize) {
    let graph = gpu.captured(|| {
        gpu.store(gpu.stream, gpu.memory, value);
        gpu.increment(gpu.stream, gpu.spare);
    });
    (gpu.instantiate(graph), graph)
}

fn update(gpu: &Gpu, exec: usize, graph: usize) -> String {
    let mut info = [0; 3];
    let code = gpu.api.cuGraphExecUpdate_v2(exec, graph, &mut info);
    // The result is an `int` in the first word.
    format!("{code} result {}", info[0] as u32)
}

/// The word after a launch of `exec`.
fn replay(gpu: &Gpu, exec: usize) -> String {
    gpu.api.cuGraphLaunch(exec, gpu.stream);
    gpu.api.cuCtxSynchronize();
    gpu.peek(gpu.memory)
}

/// Launches `increment` with programmatic stream serialisation.
fn programmatic(gpu: &Gpu) -> u32 {
    let mut value = [0; 16];
    value[0] = 1;
    let attribute = LaunchAttribute { id: [6, 0], value };
    let config = LaunchConfig {
        shape: [1, 1, 1, 1, 1, 1, 0],
        stream: gpu.stream,
        attributes: &attribute,
        num_attributes: 1,
    };
    let params = [std::ptr::from_ref(&gpu.memory).cast::<c_void>()];
    gpu.api.cuLaunchKernelEx(&config, gpu.function("increment"), params.as_ptr(), std::ptr::null())
}

/// Type and port of every edge.
fn edges(gpu: &Gpu, graph: usize) -> Vec<(u8, u8)> {
    let (null, no_data) = (std::ptr::null_mut(), std::ptr::null_mut());
    let mut count = 0;
    gpu.api.cuGraphGetEdges_v2(graph, null, null, no_data, &mut count);
    let (mut from, mut to, mut data) = (vec![0; count], vec![0; count], vec![[0u8; 8]; count]);
    gpu.api.cuGraphGetEdges_v2(
        graph,
        from.as_mut_ptr(),
        to.as_mut_ptr(),
        data.as_mut_ptr(),
        &mut count,
    );
    data.iter().map(|edge| (edge[2], edge[0])).collect()
}
