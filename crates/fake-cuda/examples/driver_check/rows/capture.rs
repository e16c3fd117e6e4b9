//! Calls that a capture forbids: result of the call / result of ending the capture, by mode.

use crate::gpu::{Gpu, ONE_THREAD, PTX};
use crate::inside::inside;
use crate::row::Check::{Alone, Shared};
use crate::row::{Row, Source};

const UNSAFE: &str = "G 900/901, T 900/901, R 0/0 nodes [0]";

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "CAP-01",
        "cuStreamSynchronize of the capturing stream",
        "900/901",
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuStreamSynchronize(gpu.stream))),
    ),
    Row::seen(
        "CAP-02",
        "cuStreamQuery of the capturing stream",
        "900/901",
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuStreamQuery(gpu.stream))),
    ),
    Row::seen(
        "CAP-03",
        "cuCtxSynchronize",
        "900/901",
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuCtxSynchronize())),
    ),
    Row::seen(
        "CAP-04",
        "cuStreamSynchronize of another stream",
        UNSAFE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuStreamSynchronize(gpu.other))),
    ),
    Row::seen(
        "CAP-05",
        "cuMemAlloc",
        UNSAFE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuMemAlloc_v2(&mut 0, 4096))),
    ),
    Row::seen(
        "CAP-06",
        "cuMemFree",
        UNSAFE,
        Shared(|gpu| {
            let mut address = [0; 3];
            for address in &mut address {
                gpu.api.cuMemAlloc_v2(address, 4096);
            }
            inside(gpu, |gpu, mode| gpu.api.cuMemFree_v2(address[mode as usize]))
        }),
    ),
    Row::seen(
        "CAP-07",
        "cuMemHostAlloc",
        UNSAFE,
        Shared(|gpu| inside(gpu, |gpu, _| gpu.api.cuMemHostAlloc(&mut 0, 4096, 0))),
    ),
    Row::seen(
        "CAP-08",
        "cuModuleUnload of another module",
        UNSAFE,
        Shared(|gpu| {
            let mut modules = [0; 3];
            for module in &mut modules {
                gpu.load(PTX, module);
            }
            inside(gpu, |gpu, mode| gpu.api.cuModuleUnload(modules[mode as usize]))
        }),
    ),
    Row::seen(
        "CAP-09",
        "cuGraphInstantiate of another graph",
        UNSAFE,
        Shared(|gpu| {
            let mut graph = 0;
            gpu.api.cuGraphCreate(&mut graph, 0);
            inside(gpu, |gpu, _| gpu.api.cuGraphInstantiateWithFlags(&mut 0, graph, 0))
        }),
    ),
    Row::seen(
        "CAP-10",
        "cuGraphUpload on another stream",
        "0/0 nodes [0]",
        Shared(|gpu| {
            let exec = gpu.instantiate(gpu.captured(|| gpu.increment(gpu.stream, gpu.spare)));
            inside(gpu, |gpu, _| gpu.api.cuGraphUpload(exec, gpu.other))
        }),
    ),
    Row::seen(
        "CAP-11",
        "cuMemAlloc on another thread",
        "G 900/901, T 0/0 nodes [0], R 0/0 nodes [0]",
        Shared(|gpu| {
            inside(gpu, |gpu, _| {
                on_another_thread(|| {
                    gpu.api.cuCtxSetCurrent(gpu.context);
                    gpu.api.cuMemAlloc_v2(&mut 0, 4096)
                })
            })
        }),
    ),
    Row::seen(
        "CAP-12",
        "cuEventQuery of an event recorded before",
        UNSAFE,
        Shared(|gpu| {
            let event = recorded(gpu);
            inside(gpu, |gpu, _| gpu.api.cuEventQuery(event))
        }),
    ),
    Row::seen(
        "CAP-13",
        "cuEventSynchronize of an event recorded before",
        UNSAFE,
        Shared(|gpu| {
            let event = recorded(gpu);
            inside(gpu, |gpu, _| gpu.api.cuEventSynchronize(event))
        }),
    ),
    Row::seen(
        "CAP-14",
        "cuEventQuery of an event recorded inside",
        "907/901",
        Shared(|gpu| {
            let event = recorded(gpu);
            inside(gpu, |gpu, _| {
                gpu.api.cuEventRecord(event, gpu.stream);
                gpu.api.cuEventQuery(event)
            })
        }),
    ),
    Row::seen(
        "CAP-15",
        "cuEventSynchronize of an event recorded inside",
        "907/901",
        Shared(|gpu| {
            let event = recorded(gpu);
            inside(gpu, |gpu, _| {
                gpu.api.cuEventRecord(event, gpu.stream);
                gpu.api.cuEventSynchronize(event)
            })
        }),
    ),
    Row::seen(
        "CAP-16",
        "cuStreamWaitEvent on an event recorded outside",
        "905/901",
        Shared(|gpu| {
            let event = recorded(gpu);
            inside(gpu, |gpu, _| gpu.api.cuStreamWaitEvent(gpu.stream, event, 0))
        }),
    ),
    Row::seen(
        "CAP-17",
        "a stream is forked and not joined",
        "0/904",
        Shared(|gpu| {
            let event = recorded(gpu);
            inside(gpu, |gpu, _| {
                gpu.api.cuEventRecord(event, gpu.stream);
                gpu.api.cuStreamWaitEvent(gpu.other, event, 0);
                gpu.store(gpu.other, gpu.spare, 1)
            })
        }),
    ),
    Row::seen(
        "CAP-18",
        "cuStreamEndCapture on another thread, then on the right one",
        "G 908/401, T 908/401, R 0/401",
        Shared(|gpu| {
            inside(gpu, |gpu, _| {
                on_another_thread(|| {
                    gpu.api.cuCtxSetCurrent(gpu.context);
                    gpu.api.cuStreamEndCapture(gpu.stream, &mut 0)
                })
            })
        }),
    ),
    Row::seen(
        "CAP-19",
        "cuStreamBeginCapture again: the capture goes on",
        "401/0 nodes [0]",
        Shared(|gpu| inside(gpu, |gpu, mode| gpu.api.cuStreamBeginCapture_v2(gpu.stream, mode))),
    ),
    Row::seen(
        "CAP-20",
        "cuGraphLaunch into the capturing stream",
        "900/901",
        Shared(|gpu| {
            let exec = gpu.instantiate(gpu.captured(|| gpu.increment(gpu.stream, gpu.spare)));
            inside(gpu, |gpu, _| gpu.api.cuGraphLaunch(exec, gpu.stream))
        }),
    ),
    Row::seen(
        "CAP-21",
        "a launch of 1025 threads: a wrong argument",
        "1/901",
        Shared(|gpu| inside(gpu, |gpu, _| launch(gpu, [1, 1, 1, 1025, 1, 1, 0]))),
    ),
    Row::seen(
        "CAP-22",
        "a launch of no blocks: a wrong argument",
        "1/901",
        Shared(|gpu| inside(gpu, |gpu, _| launch(gpu, [0, 1, 1, 1, 1, 1, 0]))),
    ),
    Row::seen(
        "CAP-23",
        "a launch after the capture was invalidated",
        "901/901",
        Shared(|gpu| {
            inside(gpu, |gpu, _| {
                gpu.api.cuStreamQuery(gpu.stream);
                launch(gpu, ONE_THREAD)
            })
        }),
    )
    .from(Source::Manual),
    Row::seen(
        "CAP-24",
        "two captures joined by an event",
        "902/901",
        Alone(|gpu| {
            let event = recorded(gpu);
            gpu.api.cuStreamBeginCapture_v2(gpu.other, 2);
            gpu.api.cuEventRecord(event, gpu.other);
            gpu.api.cuStreamBeginCapture_v2(gpu.stream, 2);
            let code = gpu.api.cuStreamWaitEvent(gpu.stream, event, 0);
            format!("{code}/{}", gpu.api.cuStreamEndCapture(gpu.stream, &mut 0))
        }),
    )
    .from(Source::Manual),
];

fn launch(gpu: &Gpu, shape: [u32; 7]) -> u32 {
    gpu.launch(gpu.function("store"), shape, gpu.stream, &[gpu.memory, 1])
}

/// An event that was recorded on the other stream and is done.
fn recorded(gpu: &Gpu) -> usize {
    let mut event = 0;
    gpu.api.cuEventCreate(&mut event, 0);
    gpu.api.cuEventRecord(event, gpu.other);
    gpu.api.cuCtxSynchronize();
    event
}

fn on_another_thread(call: impl FnOnce() -> u32 + Send) -> u32 {
    std::thread::scope(|scope| scope.spawn(call).join().unwrap_or(u32::MAX))
}
