//! What compilers rarely write: kernels in PTX by hand.

use ptx_interp::{Fault, FaultKind, Stats};

use crate::device::{Device, SEEDS, params};

/// A kernel with pointers to 64-bit words as parameters, its body given.
fn module(body: &str) -> String {
    format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n\
         .extern .shared .align 16 .b8 dynamic[];\n\
         .visible .entry k(.param .u64 out, .param .u64 in) {{\n\
         .reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<19>; .reg .b64 %rd<19>;\n\
         .reg .b64 %out, %in; .reg .b32 %t;\n\
         ld.param.u64 %out, [out]; ld.param.u64 %in, [in]; mov.u32 %t, %tid.x;\n\
         mad.wide.u32 %out, %t, 8, %out;\n{body}\nret; }}\n"
    )
}

/// The line of the text in which the body of [`module`] starts.
const FIRST_LINE: u32 = 10;

/// What 32 threads write, 64 bits each, of which fresh memory has all set.
fn run(body: &str, seed: u64) -> Result<(Vec<u64>, Stats), Fault> {
    let device = Device::new(&module(body));
    let input = device.upload(&[7; 64]);
    let out = device.memory.alloc(256).unwrap();
    let params = params(&[out, input], &[]);
    let mut launch = device.launch("k", [1, 32, 1], &params);
    launch.dynamic_shared_bytes = 256;
    let stats = device.run(&[launch], seed)?;
    let mut bytes = vec![0; 256];
    device.memory.read(out, &mut bytes).unwrap();
    Ok((bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect(), stats))
}

fn written(body: &str) -> Vec<u64> {
    run(body, 0).unwrap().0
}

fn fault(body: &str) -> Fault {
    run(body, 0).unwrap_err()
}

#[test]
fn registers_that_nothing_wrote_have_no_effect() {
    let branch = fault("setp.eq.u32 %p1, %r1, 0;\n@%p1 bra $done;\n$done:");
    assert_eq!((branch.kind(), branch.line()), (FaultKind::Uninitialized, Some(FIRST_LINE + 1)));
    let address = fault("mov.b32 %r1, {%h1, %h2}; st.shared.b32 [%r1], %t;");
    assert_eq!(address.kind(), FaultKind::Uninitialized);
    let value = fault("add.u64 %rd1, %rd2, 1; st.global.b64 [%out], %rd1;");
    assert_eq!((value.kind(), value.lane()), (FaultKind::Uninitialized, Some(0)));
    // Lanes that wrote the register may use it; selecting the other operand is no use.
    let some = "setp.lt.u32 %p1, %t, 8; @%p1 mov.u64 %rd1, 5; @%p1 st.global.b64 [%out], %rd1;\n\
                mov.u64 %rd2, 6; selp.b64 %rd3, %rd1, %rd2, %p1; st.global.b64 [%out], %rd3;";
    assert_eq!(written(some)[7..9], [5, 6]);
}

#[test]
fn what_shared_memory_passes_on_stays_unwritten() {
    let body = "shl.b32 %r1, %t, 2; add.u32 %r1, %r1, dynamic;\n\
                st.shared.b32 [%r1], %r7; bar.warp.sync -1;\n\
                ld.shared.b32 %r2, [%r1]; st.global.b32 [%out], %r2;";
    let fault = fault(body);
    assert_eq!((fault.kind(), fault.line()), (FaultKind::Uninitialized, Some(FIRST_LINE + 2)));
}

#[test]
fn the_stack_belongs_to_the_thread() {
    let body = ".local .align 8 .b8 depot[16];\n\
                mov.u64 %rd1, depot; cvta.local.u64 %rd2, %rd1;\n\
                st.local.b32 [%rd1+4], %t; st.b16 [%rd2+2], 9; ld.local.u8 %r2, [depot+4];\n\
                ld.u16 %h1, [%rd2+2]; cvt.u32.u16 %r3, %h1; mad.lo.u32 %r2, %r3, 100, %r2;\n\
                cvt.u64.u32 %rd4, %r2; st.global.b64 [%out], %rd4;";
    let expected: Vec<u64> = (0..32).map(|t| 900 + t).collect();
    assert_eq!(written(body), expected);
    let past = ".local .align 8 .b8 depot[16];\nst.local.b64 [depot+16], 1;";
    assert_eq!(fault(past).kind(), FaultKind::OutOfBounds);
    let unwritten = ".local .align 8 .b8 depot[16];\nld.local.b64 %rd1, [depot]; \
                     st.global.b64 [%out], %rd1;";
    assert_eq!(fault(unwritten).kind(), FaultKind::Uninitialized);
}

#[test]
fn vectors_and_narrow_elements() {
    let body = "st.global.v4.b16 [%out], {1, 2, 3, 4};\n\
                ld.global.v2.b32 {%r1, %r2}, [%out]; ld.global.v2.u16 {%h1, _}, [%out+4];\n\
                ld.global.s8 %r3, [%in]; ld.global.v4.s8 {%h2, %h3, %h4, %h5}, [%in];\n\
                cvt.u32.u16 %r4, %h1; add.u32 %r1, %r1, %r4; st.global.v2.b32 [%out], {%r2, %r1};";
    assert_eq!(written(body)[0], 0x0002_0001_0004_0003 + (3 << 32));
}

#[test]
fn generic_addresses_know_their_space() {
    let body = "mov.u32 %r1, dynamic; cvt.u64.u32 %rd1, %r1; cvta.shared.u64 %rd1, %rd1;\n\
                mad.wide.u32 %rd1, %t, 4, %rd1; st.b32 [%rd1], %t; bar.sync 0;\n\
                cvta.to.shared.u64 %rd2, %rd1; cvt.u32.u64 %r2, %rd2; xor.b32 %r2, %r2, 4;\n\
                ld.shared.b32 %r3, [%r2]; isspacep.shared %p1, %rd1;\n\
                @%p1 add.u32 %r3, %r3, 1000; cvt.u64.u32 %rd3, %r3; st.global.b64 [%out], %rd3;";
    let expected: Vec<u64> = (0..32).map(|t| 1000 + (t ^ 1)).collect();
    assert_eq!(written(body), expected);
}

#[test]
fn branches_through_a_table() {
    let body = "and.b32 %r1, %t, 3; mov.u64 %rd1, 40;\n\
                $table: .branchtargets $a, $b, $c, $b;\n\
                brx.idx %r1, $table;\n\
                $a: mov.u64 %rd1, 10; bra.uni $end;\n\
                $b: mov.u64 %rd1, 20; bra.uni $end;\n\
                $c: mov.u64 %rd1, 30;\n\
                $end: st.global.b64 [%out], %rd1;";
    for seed in SEEDS {
        let (found, _) = run(body, seed).unwrap();
        assert_eq!(found[4..8], [10, 20, 30, 20]);
    }
    let outside = "$table: .branchtargets $a;\nbrx.idx %t, $table; $a:";
    let fault = fault(outside);
    assert_eq!((fault.kind(), fault.lane()), (FaultKind::OutOfBounds, Some(1)));
}

#[test]
fn atomics_of_every_kind() {
    // All lanes add to one word; the others work on their own.
    let body = "ld.param.u64 %rd1, [out]; st.global.b64 [%out], 5;\nbar.sync 0;\n\
                red.global.add.u64 [%rd1], 1; setp.eq.u32 %p1, %t, 0; @%p1 exit;\n\
                mov.u64 %rd2, -3; setp.eq.u32 %p2, %t, 1; @%p2 atom.min.s64 %rd3, [%out], %rd2;\n\
                setp.eq.u32 %p3, %t, 2; @%p3 atom.global.cas.b64 %rd3, [%out], 5, 77;\n\
                setp.eq.u32 %p4, %t, 3; @%p4 atom.global.inc.u32 %r3, [%out], 5;\n\
                setp.eq.u32 %p5, %t, 4; @%p5 red.relaxed.gpu.global.add.f32 [%out], 0f40000000;\n\
                setp.eq.u32 %p6, %t, 5; @%p6 atom.acq_rel.gpu.global.exch.b32 %r4, [%out], 9;\n\
                setp.eq.u32 %p7, %t, 6; @%p7 atom.or.b32 %r5, [%out], 8;";
    for seed in SEEDS {
        let (found, _) = run(body, seed).unwrap();
        let sum = u64::from((f32::from_bits(5) + 2.0).to_bits());
        assert_eq!(found[..7], [5 + 32, -3i64 as u64, 77, 0, sum, 9, 13], "seed {seed}");
    }
}

#[test]
fn shared_atomics_do_not_race_but_need_a_value() {
    let counted = "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.b32 [dynamic], 0; bar.sync 0;\n\
                   red.shared.add.u32 [dynamic], 2; bar.sync 0;\n\
                   ld.shared.u32 %rd1, [dynamic]; st.global.b64 [%out], %rd1;";
    assert_eq!(written(counted), [64; 32]);
    assert_eq!(fault("red.shared.add.u32 [dynamic], 2;").kind(), FaultKind::Uninitialized);
}

#[test]
fn guards_leave_the_other_lanes_out_of_a_shuffle() {
    let body = "setp.lt.u32 %p1, %t, 16; mov.u32 %r1, %t;\n\
                @%p1 shfl.sync.bfly.b32 %r1|%p2, %t, 1, 31, 0xffff;\n\
                cvt.u64.u32 %rd1, %r1; st.global.b64 [%out], %rd1;";
    let expected: Vec<u64> = (0..32).map(|t| if t < 16 { t ^ 1 } else { t }).collect();
    assert_eq!(written(body), expected);
    let outside = "setp.lt.u32 %p1, %t, 16;\n@%p1 shfl.sync.bfly.b32 %r1, %t, 16, 31, 0xffff;\n\
                   st.global.b32 [%out], %r1;";
    // The value of a lane that takes no part is undefined; that it is stored is the fault.
    assert_eq!(fault(outside).line(), Some(FIRST_LINE + 2));
    let omitted = "shfl.sync.bfly.b32 %r1, %t, 1, 31, 0xffff;";
    assert_eq!(fault(omitted).kind(), FaultKind::DivergentSync);
}

#[test]
fn barriers_check_who_takes_part() {
    let count = "setp.lt.u32 %p1, %t, 32;\nbar.red.popc.u32 %r1, 0, %p1;\n\
                 cvt.u64.u32 %rd1, %r1; st.global.b64 [%out], %rd1;";
    assert_eq!(written(count), [32; 32]);
    assert_eq!(fault("bar.sync 16;").kind(), FaultKind::InvalidUse);
    assert_eq!(fault("bar.sync %t;").kind(), FaultKind::InvalidUse);
    assert_eq!(fault("bar.sync 3, 64;").kind(), FaultKind::Deadlock);
    // The one that only arrives goes on; nobody waits.
    written("bar.arrive 3, 64;");
}

#[test]
fn instructions_are_counted() {
    let (_, stats) = run("", 0).unwrap();
    assert_eq!((stats.warp_instructions, stats.thread_instructions), (5, 5 * 32));
    assert_eq!(stats.num_blocks, 1);
}
