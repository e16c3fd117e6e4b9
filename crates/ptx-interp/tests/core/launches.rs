//! Launches and the memory between them.

use std::sync::Arc;

use ptx_interp::{FaultKind, Launch, Loaded, Memory, MemoryError, Module, Options, run};

use crate::device::{Device, params};

const SCALE: &str = "
.version 9.0
.target sm_90a
.address_size 64
.global .align 4 .b32 factor = 3;
.visible .entry scale(.param .u64 out, .param .u32 n)
.maxntid 64
{
    .reg .pred %p<2>; .reg .b32 %r<8>; .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
    mad.lo.u32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 exit;
    ld.global.u32 %r6, [factor]; mul.lo.u32 %r7, %r5, %r6;
    mad.wide.u32 %rd2, %r5, 4, %rd1;
    st.global.u32 [%rd2], %r7;
    ret;
}";

/// Parameters of `scale`.
fn scale_params(out: u64, n: u32) -> Vec<u8> {
    let mut bytes = out.to_le_bytes().to_vec();
    bytes.extend(n.to_le_bytes());
    bytes
}

#[test]
fn kernels_say_what_they_need() {
    let module = Module::parse(SCALE).unwrap();
    assert_eq!((module.target(), module.version()), ("sm_90a", (9, 0)));
    let kernel = module.kernel("scale").unwrap();
    let params: Vec<_> = kernel.params().iter().map(|p| (p.offset, p.size, p.align)).collect();
    assert_eq!(params, [(0, 8, 8), (8, 4, 4)]);
    assert_eq!((kernel.params_bytes(), kernel.max_threads()), (12, Some(64)));
    assert_eq!((kernel.shared_bytes(), kernel.local_bytes(), kernel.num_registers()), (0, 0, 10));
    assert_eq!(module.kernels().map(|k| k.name()).collect::<Vec<_>>(), ["scale"]);
}

#[test]
fn many_blocks_run_on_all_threads() {
    let device = Device::new(SCALE);
    let out = device.alloc_f32(10_000);
    let params = scale_params(out, 10_000);
    let launch = device.launch("scale", [157, 64, 1], &params);
    for (seed, num_threads) in [(0, None), (9, Some(3))] {
        device.memory.fill(out, &[0], 40_000).unwrap();
        let options = Options { seed, num_threads, ..Options::default() };
        let stats = run(&device.memory, &[launch, launch], &options).unwrap();
        assert_eq!(stats.num_blocks, 2 * 157);
        let found = device.download_f32(out, 10_000);
        assert!(found.iter().enumerate().all(|(i, x)| x.to_bits() == 3 * i as u32));
    }
}

#[test]
fn variables_live_in_memory() {
    let device = Device::new(SCALE);
    let (address, bytes) = device.module.global("factor").unwrap();
    assert_eq!((bytes, device.module.global("unknown")), (4, None));
    device.memory.write(address, &5u32.to_le_bytes()).unwrap();
    let out = device.alloc_f32(2);
    let params = scale_params(out, 2);
    device.run(&[device.launch("scale", [1, 32, 1], &params)], 0).unwrap();
    assert_eq!(device.download_f32(out, 2)[1].to_bits(), 5);
    let free = device.memory.free_bytes();
    device.module.unload(&device.memory);
    assert_eq!(device.memory.free_bytes(), free + 512);
}

#[test]
fn a_module_that_does_not_fit_leaves_nothing() {
    let text = ".version 9.0\n.target sm_80\n.address_size 64\n\
                .global .b8 small[100];\n.global .b8 large[4000];";
    let memory = Memory::new(2048);
    let error = Loaded::new(Arc::new(Module::parse(text).unwrap()), &memory).unwrap_err();
    assert!(matches!(error, MemoryError::OutOfMemory { requested_bytes: 4000, .. }), "{error}");
    assert_eq!(memory.free_bytes(), 2048);
}

#[test]
fn launches_that_break_a_rule_are_refused() {
    let device = Device::new(SCALE);
    let params = scale_params(device.alloc_f32(64), 64);
    let good = device.launch("scale", [1, 64, 1], &params);
    let long = [0; 16];
    let bad = [
        ("no such kernel", Launch { kernel: "unknown", ..good }),
        ("16 bytes of parameters, expected 12", Launch { params: &long, ..good }),
        ("the most are 64", Launch { block: [65, 1, 1], ..good }),
        ("the most are 64", Launch { block: [u32::MAX, u32::MAX, 1], ..good }),
        ("0 is no size", Launch { grid: [1, 0, 1], ..good }),
        ("not made of clusters", Launch { cluster: [2, 1, 1], ..good }),
        ("the most are [", Launch { grid: [1, 65_536, 1], ..good }),
        ("bytes of shared memory", Launch { dynamic_shared_bytes: u32::MAX, ..good }),
    ];
    for (message, launch) in bad {
        let fault = device.run(&[launch], 0).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::InvalidLaunch);
        assert!(fault.message().contains(message), "{fault}");
        assert_eq!(fault.kernel(), launch.kernel);
    }
}

#[test]
fn a_fault_stops_the_launches_behind_it() {
    let device = Device::new(SCALE);
    let (small, large) = (device.alloc_f32(128), device.alloc_f32(1000));
    let (bad, good) = (scale_params(small, 1000), scale_params(large, 1000));
    let launches =
        [device.launch("scale", [16, 64, 1], &bad), device.launch("scale", [16, 64, 1], &good)];
    let fault = device.run(&launches, 0).unwrap_err();
    assert_eq!((fault.kind(), fault.block()), (FaultKind::OutOfBounds, Some([2, 0, 0])));
    assert!(device.download_f32(large, 1000).iter().all(|x| x.is_nan()));
}

#[test]
fn memory_refuses_what_is_outside() {
    let memory = Memory::new(4096);
    let address = memory.alloc(10).unwrap();
    assert_eq!(address % 512, 0);
    assert_eq!(memory.allocation(address + 9), Some((address, 10)));
    assert_eq!(memory.allocation(address + 10), None);
    memory.write(address + 3, &[1, 2, 3, 4, 5]).unwrap();
    let mut bytes = [0; 10];
    memory.read(address, &mut bytes).unwrap();
    assert_eq!(bytes, [255, 255, 255, 1, 2, 3, 4, 5, 255, 255]);
    let past = memory.write(address + 8, &[0; 3]).unwrap_err();
    assert!(matches!(past, MemoryError::OutOfBounds { allocation: Some(_), .. }), "{past}");
    let full = memory.alloc(4096).unwrap_err();
    assert_eq!(full, MemoryError::OutOfMemory { requested_bytes: 4096, free_bytes: 3584 });
    assert_eq!(memory.alloc(0).unwrap_err(), MemoryError::Empty);
    memory.free(address).unwrap();
    let freed = memory.read(address, &mut bytes).unwrap_err();
    assert_eq!(freed, MemoryError::Freed { address, len: 10 });
    assert_eq!(memory.free(address).unwrap_err(), MemoryError::NotAllocated { address });
    assert!(memory.alloc(4096).unwrap() > address);
}

#[test]
fn parameters_are_read_only_and_bounded() {
    let text = ".version 9.0\n.target sm_90a\n.address_size 64\n\
                .visible .entry k(.param .align 8 .b8 p[16]) {\n\
                .reg .b32 %r<3>; .reg .b64 %rd<4>;\n\
                ld.param.u64 %rd1, [p]; ld.param.u32 %r1, [p+8];\n\
                mov.u64 %rd2, p; cvt.u64.u32 %rd3, %r1; add.u64 %rd2, %rd2, %rd3;\n\
                ld.param.u32 %r2, [%rd2]; st.global.u32 [%rd1], %r2; ret; }";
    let device = Device::new(text);
    let out = device.alloc_f32(1);
    let run = |offset: i32| {
        let params = params(&[out], &[offset, 77]);
        device.run(&[device.launch("k", [1, 1, 1], &params)], 0)
    };
    run(12).unwrap();
    assert_eq!(device.download_f32(out, 1)[0].to_bits(), 77);
    assert_eq!(run(16).unwrap_err().kind(), FaultKind::OutOfBounds);
    assert_eq!(run(2).unwrap_err().kind(), FaultKind::Misaligned);
}
