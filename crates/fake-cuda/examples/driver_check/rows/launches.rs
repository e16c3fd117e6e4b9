//! Limits of launches, and what is not checked.

use std::ffi::c_void;

use crate::api::{LaunchAttribute, LaunchConfig};
use crate::gpu::{Gpu, ONE_THREAD};
use crate::row::Check::{Alone, Shared};
use crate::row::{Row, Source};

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const MAX_DYNAMIC_SHARED: i32 = 8;

/// Dynamic shared memory that needs no attribute.
const DEFAULT: u32 = 48 << 10;

pub(crate) const ROWS: &[Row] = &[
    Row::seen(
        "LAUNCH-01",
        "a block of 1025 threads",
        "1",
        Shared(|gpu| launch(gpu, [1, 1, 1, 1025, 1, 1, 0])),
    ),
    Row::seen(
        "LAUNCH-02",
        "a block of 32 × 33 threads",
        "1",
        Shared(|gpu| launch(gpu, [1, 1, 1, 32, 33, 1, 0])),
    ),
    Row::seen(
        "LAUNCH-03",
        "a block of 65 threads in z",
        "1",
        Shared(|gpu| launch(gpu, [1, 1, 1, 1, 1, 65, 0])),
    ),
    Row::seen(
        "LAUNCH-04",
        "a block of no threads",
        "1",
        Shared(|gpu| launch(gpu, [1, 1, 1, 0, 1, 1, 0])),
    ),
    Row::seen(
        "LAUNCH-05",
        "a grid of no blocks",
        "1",
        Shared(|gpu| launch(gpu, [0, 1, 1, 1, 1, 1, 0])),
    ),
    Row::seen(
        "LAUNCH-06",
        "a grid of 65536 blocks in y",
        "1",
        Shared(|gpu| launch(gpu, [1, 65536, 1, 1, 1, 1, 0])),
    ),
    Row::seen(
        "LAUNCH-07",
        "48 KiB of dynamic shared memory",
        "0",
        Shared(|gpu| launch(gpu, [1, 1, 1, 1, 1, 1, DEFAULT])),
    ),
    Row::seen(
        "LAUNCH-08",
        "16 bytes more, without the attribute",
        "1",
        Shared(|gpu| launch(gpu, [1, 1, 1, 1, 1, 1, DEFAULT + 16])),
    ),
    Row::seen(
        "LAUNCH-09",
        "all that the chip allows, with the attribute set",
        "set 0, 0",
        Alone(|gpu| {
            let most = opt_in(gpu);
            let set = gpu.api.cuFuncSetAttribute(gpu.function("store"), MAX_DYNAMIC_SHARED, most);
            format!("set {set}, {}", launch(gpu, [1, 1, 1, 1, 1, 1, most as u32]))
        }),
    ),
    Row::seen(
        "LAUNCH-10",
        "the attribute set to 1 KiB more than that",
        "1",
        Shared(|gpu| {
            let more = opt_in(gpu) + 1024;
            gpu.api.cuFuncSetAttribute(gpu.function("store"), MAX_DYNAMIC_SHARED, more).to_string()
        }),
    ),
    Row::seen(
        "LAUNCH-11",
        "65 threads of a kernel with .maxntid 64",
        "1",
        Shared(|gpu| {
            gpu.launch(gpu.function("small"), [1, 1, 1, 65, 1, 1, 0], gpu.stream, &[]).to_string()
        }),
    ),
    Row::seen(
        "LAUNCH-12",
        "a refused launch leaves the stream usable",
        "1, sync 0",
        Shared(|gpu| {
            let code = launch(gpu, [0, 1, 1, 1, 1, 1, 0]);
            format!("{code}, sync {}", gpu.api.cuStreamSynchronize(gpu.stream))
        }),
    ),
    Row::seen(
        "LAUNCH-13",
        "no parameters for a kernel that has some",
        "1",
        Shared(|gpu| gpu.launch(gpu.function("store"), ONE_THREAD, gpu.stream, &[]).to_string()),
    ),
    Row::seen(
        "LAUNCH-14",
        "cuFuncGetParamInfo of each parameter, and past the last",
        "0+8, 8+4, error 1",
        Shared(|gpu| {
            let info = |index| {
                let (mut offset, mut bytes) = (0, 0);
                let function = gpu.function("store");
                match gpu.api.cuFuncGetParamInfo(function, index, &mut offset, &mut bytes) {
                    0 => format!("{offset}+{bytes}"),
                    code => format!("error {code}"),
                }
            };
            [0, 1, 2].map(info).join(", ")
        }),
    ),
    Row::seen(
        "LAUNCH-15",
        "a parameter buffer (extra) of the right size",
        "0, sync 0",
        Alone(|gpu| extra(gpu, 12)),
    )
    .from(Source::Manual),
    Row::seen(
        "LAUNCH-16",
        "a parameter buffer that is too large",
        "701, sync 0",
        Alone(|gpu| extra(gpu, 64)),
    ),
    Row::seen(
        "LAUNCH-17",
        "a parameter buffer that is too small: the kernel reads what is there",
        "0, sync 0",
        Alone(|gpu| extra(gpu, 8)),
    )
    .stricter("1, sync 0"),
    Row::seen(
        "LAUNCH-18",
        "a cooperative launch of more blocks than fit",
        "720",
        Shared(|gpu| {
            let attribute = LaunchAttribute { id: [2, 0], value: one() };
            launch_with(gpu, [100_000, 1, 1, 1, 1, 1, 0], attribute).to_string()
        }),
    ),
    Row::seen(
        "LAUNCH-19",
        "a cluster of 32 blocks",
        "912",
        Shared(|gpu| {
            let mut value = one();
            value[..3].copy_from_slice(&[32, 1, 1]);
            let attribute = LaunchAttribute { id: [4, 0], value };
            launch_with(gpu, [32, 1, 1, 1, 1, 1, 0], attribute).to_string()
        }),
    )
    .from(Source::Manual),
];

fn launch(gpu: &Gpu, shape: [u32; 7]) -> String {
    let args = [gpu.memory, 1];
    gpu.launch(gpu.function("store"), shape, gpu.stream, &args).to_string()
}

/// Most shared memory of a block.
fn opt_in(gpu: &Gpu) -> i32 {
    let mut bytes = 0;
    gpu.api.cuDeviceGetAttribute(&mut bytes, 97, 0);
    bytes
}

fn one() -> [u32; 16] {
    let mut value = [0; 16];
    value[0] = 1;
    value
}

fn launch_with(gpu: &Gpu, shape: [u32; 7], attribute: LaunchAttribute) -> u32 {
    let config =
        LaunchConfig { shape, stream: gpu.stream, attributes: &attribute, num_attributes: 1 };
    let args = [gpu.memory, 1];
    let params: Vec<*const c_void> =
        args.iter().map(|arg| std::ptr::from_ref(arg).cast()).collect();
    gpu.api.cuLaunchKernelEx(&config, gpu.function("store"), params.as_ptr(), std::ptr::null())
}

/// A launch of `store` with a buffer of `bytes` bytes of parameters.
fn extra(gpu: &Gpu, bytes: usize) -> String {
    let mut buffer = [0u64; 8];
    buffer[..2].copy_from_slice(&[gpu.memory, 1]);
    let extra = [1, buffer.as_ptr() as usize, 2, std::ptr::from_ref(&bytes) as usize, 0];
    let code = gpu.api.cuLaunchKernel(
        gpu.function("store"),
        1,
        1,
        1,
        1,
        1,
        1,
        0,
        gpu.stream,
        std::ptr::null(),
        extra.as_ptr(),
    );
    format!("{code}, sync {}", gpu.api.cuStreamSynchronize(gpu.stream))
}
