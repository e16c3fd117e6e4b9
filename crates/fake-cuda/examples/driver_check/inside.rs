//! One call inside a capture, in each of the three modes.

use crate::gpu::Gpu;

/// Letters of the modes GLOBAL, THREAD_LOCAL and RELAXED.
const MODES: [char; 3] = ['G', 'T', 'R'];

/// Captures a kernel and then `call`, and says what came of it: result of the call / result of the
/// end of the capture, and the types of the nodes if there is a graph. What is the same in all
/// modes is said once.
pub(crate) fn inside(gpu: &Gpu, call: impl Fn(&Gpu, u32) -> u32) -> String {
    let found = [0, 1, 2].map(|mode| in_mode(gpu, mode, &call));
    if found.iter().all(|other| *other == found[0]) {
        return found[0].clone();
    }
    let parts: Vec<String> =
        MODES.iter().zip(&found).map(|(mode, found)| format!("{mode} {found}")).collect();
    parts.join(", ")
}

fn in_mode(gpu: &Gpu, mode: u32, call: &impl Fn(&Gpu, u32) -> u32) -> String {
    gpu.api.cuStreamBeginCapture_v2(gpu.stream, mode);
    gpu.store(gpu.stream, gpu.memory, 5);
    let code = call(gpu, mode);
    let mut graph = 0;
    let end = gpu.api.cuStreamEndCapture(gpu.stream, &mut graph);
    // If the call took the other stream along and the driver did not let it go.
    gpu.api.cuStreamEndCapture(gpu.other, &mut 0);
    let mut found = format!("{code}/{end}");
    if graph != 0 {
        found.push_str(&format!(" nodes {:?}", gpu.node_types(graph)));
        gpu.api.cuGraphDestroy(graph);
    }
    let mut after = gpu.store(gpu.stream, gpu.memory, 6);
    if after == 0 {
        after = gpu.api.cuStreamSynchronize(gpu.stream);
    }
    if after != 0 {
        found.push_str(&format!(" and the stream is left with {after}"));
    }
    gpu.api.cuCtxSynchronize();
    found
}
