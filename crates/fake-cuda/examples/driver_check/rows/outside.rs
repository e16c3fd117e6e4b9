//! Captures seen from the outside: how they begin, end and vanish.

use crate::gpu::{LEGACY, NON_BLOCKING, THREAD_LOCAL};
use crate::row::Check::{Alone, Shared};
use crate::row::{Row, Source};

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "OUT-01",
        "cuStreamEndCapture without a capture",
        "401",
        Shared(|gpu| gpu.api.cuStreamEndCapture(gpu.stream, &mut 0).to_string()),
    ),
    Row::seen(
        "OUT-02",
        "cuStreamBeginCapture on the legacy stream",
        "900",
        Shared(|gpu| gpu.api.cuStreamBeginCapture_v2(LEGACY, 0).to_string()),
    ),
    Row::seen(
        "OUT-03",
        "a capturing stream can be destroyed",
        "0, then 0",
        Alone(|gpu| {
            let mut stream = 0;
            gpu.api.cuStreamCreate(&mut stream, NON_BLOCKING);
            gpu.api.cuStreamBeginCapture_v2(stream, THREAD_LOCAL);
            gpu.store(stream, gpu.memory, 1);
            let code = gpu.api.cuStreamDestroy_v2(stream);
            gpu.store(gpu.stream, gpu.memory, 2);
            format!("{code}, then {}", gpu.api.cuStreamSynchronize(gpu.stream))
        }),
    ),
    Row::seen(
        "OUT-04",
        "a capture of nothing is a graph of no nodes that launches",
        "nodes [], launch 0, sync 0",
        Shared(|gpu| {
            let graph = gpu.captured(|| {});
            let nodes = gpu.node_types(graph);
            let launch = gpu.api.cuGraphLaunch(gpu.instantiate(graph), gpu.stream);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            format!("nodes {nodes:?}, launch {launch}, sync {sync}")
        }),
    ),
    Row::seen(
        "OUT-05",
        "nothing runs during a capture",
        "0, then 1",
        Shared(|gpu| {
            gpu.clear();
            let graph = gpu.captured(|| gpu.increment(gpu.stream, gpu.memory));
            gpu.api.cuCtxSynchronize();
            let before = gpu.peek(gpu.memory);
            gpu.api.cuGraphLaunch(gpu.instantiate(graph), gpu.stream);
            gpu.api.cuCtxSynchronize();
            format!("{before}, then {}", gpu.peek(gpu.memory))
        }),
    ),
    Row::seen(
        "OUT-06",
        "cuStreamIsCapturing before, during and after an error",
        "none, active, invalidated, none",
        Shared(|gpu| {
            let before = gpu.status(gpu.stream);
            gpu.api.cuStreamBeginCapture_v2(gpu.stream, THREAD_LOCAL);
            let during = gpu.status(gpu.stream);
            gpu.api.cuStreamQuery(gpu.stream);
            let after = gpu.status(gpu.stream);
            gpu.api.cuStreamEndCapture(gpu.stream, &mut 0);
            format!("{before}, {during}, {after}, {}", gpu.status(gpu.stream))
        }),
    ),
    Row::seen(
        "OUT-07",
        "an event takes a second stream into a capture and back",
        "nodes [0, 0], sum 2",
        Shared(|gpu| {
            gpu.clear();
            let (mut fork, mut join) = (0, 0);
            gpu.api.cuEventCreate(&mut fork, 0);
            gpu.api.cuEventCreate(&mut join, 0);
            let graph = gpu.captured(|| {
                gpu.increment(gpu.stream, gpu.memory);
                gpu.api.cuEventRecord(fork, gpu.stream);
                gpu.api.cuStreamWaitEvent(gpu.other, fork, 0);
                gpu.increment(gpu.other, gpu.memory);
                gpu.api.cuEventRecord(join, gpu.other);
                gpu.api.cuStreamWaitEvent(gpu.stream, join, 0);
            });
            let nodes = gpu.node_types(graph);
            gpu.api.cuGraphLaunch(gpu.instantiate(graph), gpu.stream);
            gpu.api.cuCtxSynchronize();
            format!("nodes {nodes:?}, sum {}", gpu.peek(gpu.memory))
        }),
    )
    .from(Source::Manual),
    Row::seen(
        "OUT-08",
        "cuStreamEndCapture on a stream that only joined",
        "903",
        Alone(|gpu| {
            let mut event = 0;
            gpu.api.cuEventCreate(&mut event, 0);
            gpu.api.cuStreamBeginCapture_v2(gpu.stream, THREAD_LOCAL);
            gpu.api.cuEventRecord(event, gpu.stream);
            gpu.api.cuStreamWaitEvent(gpu.other, event, 0);
            gpu.api.cuStreamEndCapture(gpu.other, &mut 0).to_string()
        }),
    )
    .from(Source::Manual),
];
