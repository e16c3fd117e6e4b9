//! One product of four warps, in PTX by hand, right and with one mistake each.

use ptx_interp::{Fault, FaultKind, Module};

use crate::device::{Device, SEEDS, params};

/// The parts of the kernel: A is ones, column n of B is n, sixteen times, and the sums begin at 1.
/// Swizzling makes no difference to such columns.
struct Parts {
    /// Behind the stores of B.
    publish: &'static str,
    /// In front of the product.
    fence: &'static str,
    /// Behind it.
    finish: &'static str,
    /// What the sums are used for.
    end: &'static str,
    /// The upper half of the descriptor: swizzling, and the stride between eight columns.
    layout: u32,
}

const RIGHT: Parts = Parts {
    publish: "fence.proxy.async; bar.sync 0;",
    fence: "wgmma.fence.sync.aligned;",
    finish: "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
    end: STORE,
    layout: 1 << 30 | 64,
};

const STORE: &str = "st.global.v4.f32 [%out], {%d0, %d1, %d2, %d3};";

const PRODUCT: &str = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 \
                       {%d0, %d1, %d2, %d3}, {%a0, %a1, %a2, %a3}, %b, %p, 1, 1, 0;";

fn text(parts: &Parts) -> String {
    let Parts { publish, fence, finish, end, layout } = parts;
    format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n\
         .visible .entry k(.param .u64 out) {{\n\
         .shared .align 1024 .b8 columns[1024];\n\
         .reg .pred %p, %last; .reg .b32 %t, %at, %n, %a<4>, %low; .reg .b64 %out, %b;\n\
         .reg .f32 %f, %d<4>;\n\
         ld.param.u64 %out, [out]; mov.u32 %t, %tid.x; mad.wide.u32 %out, %t, 16, %out;\n\
         mov.u32 %low, columns; mad.lo.u32 %at, %t, 8, %low;\n\
         shr.u32 %n, %t, 4; cvt.rn.f32.u32 %f, %n; mov.b32 %n, %f;\n\
         shr.u32 %a0, %n, 16; or.b32 %n, %n, %a0; st.shared.v2.b32 [%at], {{%n, %n}};\n\
         {publish}\n\
         shr.u32 %low, %low, 4; mov.u32 %n, {layout}; mov.b64 %b, {{%low, %n}};\n\
         setp.ge.u32 %last, %t, 96; setp.eq.u32 %p, 0, 0;\n\
         mov.f32 %d0, 0f3F800000; mov.f32 %d1, %d0; mov.f32 %d2, %d0; mov.f32 %d3, %d0;\n\
         mov.u32 %a0, 0x3F803F80; mov.u32 %a1, %a0; mov.u32 %a2, %a0; mov.u32 %a3, %a0;\n\
         {fence}\n{PRODUCT}\n{finish}\n{end}\nret; }}\n"
    )
}

fn run(parts: &Parts, threads: u32, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(&text(parts));
    let out = device.alloc_f32(512);
    let params = params(&[out], &[]);
    device.run(&[device.launch("k", [1, threads, 1], &params)], seed)?;
    Ok(device.download_f32(out, 512))
}

/// The fault that a kernel has with every seed.
fn fault(parts: &Parts, kind: FaultKind) -> String {
    let faults: Vec<Fault> = SEEDS.map(|seed| run(parts, 128, seed).unwrap_err()).collect();
    for (seed, fault) in faults.iter().enumerate() {
        assert_eq!(fault.kind(), kind, "seed {seed}: {fault}");
    }
    faults[0].message().to_owned()
}

#[test]
fn a_product_is_right_with_every_seed() {
    for seed in SEEDS {
        let sums = run(&RIGHT, 128, seed).unwrap();
        for (at, sum) in sums.iter().enumerate() {
            let column = at / 4 % 4 * 2 + at % 2;
            assert_eq!(*sum, 1.0 + 16.0 * column as f32, "element {at} seed {seed}");
        }
    }
}

#[test]
fn what_stores_wrote_needs_a_proxy_fence_and_a_barrier() {
    let message = fault(&Parts { publish: "bar.sync 0;", ..RIGHT }, FaultKind::MissingFence);
    assert!(message.contains("fence.proxy.async"), "{message}");
    fault(&Parts { publish: "fence.proxy.async;", ..RIGHT }, FaultKind::Race);
}

#[test]
fn registers_need_a_fence() {
    let message = fault(&Parts { fence: "", ..RIGHT }, FaultKind::MissingFence);
    assert!(message.contains("wgmma.fence"), "{message}");
    let fence = "wgmma.fence.sync.aligned; mov.u32 %a2, 0;";
    fault(&Parts { fence, ..RIGHT }, FaultKind::MissingFence);
}

#[test]
fn registers_and_b_are_busy_until_the_wait() {
    let waits = [
        ("wgmma.commit_group.sync.aligned;", "reads a sum"),
        ("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 1;", "reads a sum"),
        ("wgmma.wait_group.sync.aligned 0;", "reads a sum"),
        ("mov.f32 %d1, 0f00000000;", "writes a sum"),
        ("wgmma.commit_group.sync.aligned; mov.u32 %a3, 0;", "writes a register of A"),
        ("wgmma.commit_group.sync.aligned; st.shared.b32 [%at], %n;", "writes shared bytes"),
    ];
    for (finish, expected) in waits {
        let message = fault(&Parts { finish, ..RIGHT }, FaultKind::MissingWait);
        assert!(message.contains(expected), "{finish}: {message}");
    }
    let leaves = Parts { finish: "wgmma.commit_group.sync.aligned;", end: "", ..RIGHT };
    assert!(fault(&leaves, FaultKind::MissingWait).contains("exits"));
}

#[test]
fn four_warps_multiply_together() {
    let parts = Parts { fence: "wgmma.fence.sync.aligned; @%last bra $end;", ..RIGHT };
    let parts = Parts { end: "$end:", ..parts };
    let message = fault(&parts, FaultKind::DivergentSync);
    assert!(message.contains("[1, 1, 1, 0]"), "{message}");
    let fault = run(&RIGHT, 96, 0).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::DivergentSync, "{fault}");
}

#[test]
fn what_is_not_supported_is_refused() {
    let message = fault(&Parts { layout: 64, ..RIGHT }, FaultKind::InvalidUse);
    assert!(message.contains("swizzling 0"), "{message}");
    let refused = |from: &str, to: &str| {
        let error = Module::parse(&text(&RIGHT).replace(from, to)).unwrap_err();
        error.to_string()
    };
    assert!(refused("1, 1, 0;", "-1, 1, 0;").contains("negated"));
    assert!(refused("{%a0, %a1, %a2, %a3}", "%b").contains("A in shared memory"));
    assert!(refused("bf16.bf16", "bf16.f16").contains("not supported"));
}
