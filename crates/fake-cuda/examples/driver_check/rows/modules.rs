//! Which images load.

use std::ffi::CString;

use crate::gpu::{Gpu, PTX};
use crate::row::Check::{Alone, Shared};
use crate::row::Row;

pub(crate) const ROWS: &[Row] = &[
    Row::seen("MOD-01", "PTX 9.0 with driver 13.0", "0", Shared(|gpu| version(gpu, "9.0"))),
    Row::seen("MOD-02", "PTX 9.1 with driver 13.0", "222", Shared(|gpu| version(gpu, "9.1"))),
    Row::seen("MOD-03", "PTX 99.0", "222", Shared(|gpu| version(gpu, "99.0"))),
    Row::seen(
        "MOD-04",
        "PTX for an architecture above the chip (sm_100)",
        "218",
        Shared(|gpu| target(gpu, "sm_100")),
    ),
    Row::seen(
        "MOD-05",
        "PTX for the features of another architecture (sm_100a)",
        "218",
        Shared(|gpu| target(gpu, "sm_100a")),
    ),
    Row::seen(
        "MOD-06",
        "PTX for sm_90a on a chip of compute capability 9.0",
        "0",
        Shared(|gpu| target(gpu, "sm_90a")),
    ),
    Row::seen("MOD-07", "text that is not PTX", "200", Shared(|gpu| load(gpu, "hello"))),
    Row::seen("MOD-08", "an empty image", "200", Shared(|gpu| load(gpu, ""))),
    Row::seen("MOD-09", "PTX with a syntax error", "218", Shared(|gpu| load(gpu, &broken()))),
    Row::seen(
        "MOD-10",
        "the compiler's log of a syntax error",
        "218, names a line",
        Shared(|gpu| {
            let mut log = vec![0u8; 4096];
            let (options, mut values) = ([5, 6], [log.as_mut_ptr() as usize, log.len()]);
            let image = CString::new(broken()).unwrap_or_default();
            let code = gpu.api.cuModuleLoadDataEx(
                &mut 0,
                image.as_ptr(),
                2,
                options.as_ptr(),
                values.as_mut_ptr(),
            );
            let says = String::from_utf8_lossy(&log).contains("line ");
            format!("{code}, {} a line", if says { "names" } else { "does not name" })
        }),
    ),
    Row::seen(
        "MOD-11",
        "a kernel that the module does not have",
        "500",
        Shared(|gpu| gpu.function_of(gpu.module, "nosuch").0.to_string()),
    ),
    Row::seen(
        "MOD-12",
        "a variable of a module has its initial value",
        "0, 4 bytes, 7",
        Shared(|gpu| {
            let (mut address, mut bytes) = (0, 0);
            let name = c"answer".as_ptr();
            let code = gpu.api.cuModuleGetGlobal_v2(&mut address, &mut bytes, gpu.module, name);
            format!("{code}, {bytes} bytes, {}", gpu.peek(address))
        }),
    ),
    Row::seen(
        "MOD-13",
        "a module unloaded under a graph: its kernels still run",
        "unload 0, launch 0, sync 0",
        Alone(|gpu| {
            let mut module = 0;
            gpu.load(PTX, &mut module);
            let (_, function) = gpu.function_of(module, "increment");
            let shape = [1, 1, 1, 1, 1, 1, 0];
            let graph = gpu.captured(|| gpu.launch(function, shape, gpu.stream, &[gpu.memory]));
            let exec = gpu.instantiate(graph);
            let unload = gpu.api.cuModuleUnload(module);
            let launch = gpu.api.cuGraphLaunch(exec, gpu.stream);
            let sync = gpu.api.cuStreamSynchronize(gpu.stream);
            format!("unload {unload}, launch {launch}, sync {sync}")
        }),
    ),
];

fn load(gpu: &Gpu, ptx: &str) -> String {
    gpu.load(ptx, &mut 0).to_string()
}

fn version(gpu: &Gpu, version: &str) -> String {
    load(gpu, &PTX.replacen(".version 8.0", &format!(".version {version}"), 1))
}

fn target(gpu: &Gpu, target: &str) -> String {
    let ptx = PTX.replacen(".version 8.0", ".version 8.7", 1);
    load(gpu, &ptx.replacen(".target sm_80", &format!(".target {target}"), 1))
}

fn broken() -> String {
    PTX.replacen("ret;", "retx;", 1)
}
