//! Tests of the rules: every op is accepted as it should be, and refused with a message for each
//! rule that it can break.

use super::*;
use crate::sample_ops::*;

/// Asserts that the op is refused, with this message.
fn refused(op: Op, message: &str) {
    let error = check(&op).expect_err("the op breaks a rule");
    assert_eq!(error.to_string(), message, "{op}");
}

/// A copy of an op with some of its fields changed: `with!(ADD, Add { out.cols = 3 })`.
macro_rules! with {
    ($op:expr, $kind:ident { $field:ident $(. $rest:ident)* = $value:expr }) => {{
        let mut op = $op;
        match &mut op {
            Op::$kind { $field, .. } => with!(@set $field, $($rest)*, $value),
            _ => unreachable!("another op"),
        }
        op
    }};
    (@set $field:ident, , $value:expr) => { *$field = $value };
    (@set $field:ident, $($rest:ident)+, $value:expr) => { $field$(.$rest)+ = $value };
}

#[test]
fn every_op_is_accepted() {
    for op in EVERY_OP {
        check(&op).unwrap();
    }
}

#[test]
fn floats_may_have_any_float_type_and_rows_may_have_gaps() {
    for dtype in [DType::F16, DType::Bf16] {
        check(&with!(ADD, Add { x.dtype = dtype })).unwrap();
        check(&with!(MATMUL, Matmul { out.dtype = dtype })).unwrap();
        check(&with!(ATTENTION, Attention { cache.dtype = dtype })).unwrap();
    }
    check(&with!(ADD, Add { x.stride = 100 })).unwrap();
    check(&with!(ADD, Add { x = Tensor { offset: 1 << 40, ..floats(2, 3, 8) } })).unwrap();
}

#[test]
fn inputs_may_share_a_buffer() {
    check(&with!(WRITE_KV, WriteKv { k = floats(3, 3, 16) })).unwrap();
    check(&with!(ATTENTION, Attention { cache.v = CACHE.k })).unwrap();
}

#[test]
fn tensors_are_not_empty_and_not_too_wide() {
    refused(with!(ADD, Add { x.rows = 0 }), "add: x is 0x8, expected 1..=16777216 columns");
    refused(with!(ADD, Add { out.cols = 0 }), "add: out is 3x0, expected 1..=16777216 columns");
    let wide = (1 << 24) + 1;
    let message = "add: x is 3x16777217, expected 1..=16777216 columns";
    refused(with!(ADD, Add { x.cols = wide }), message);
}

#[test]
fn rows_do_not_overlap() {
    refused(with!(ADD, Add { x.stride = 7 }), "add: x has 8 columns but a stride of 7");
    let one_row = |buffer| Tensor { stride: 0, ..floats(buffer, 1, 8) };
    check(&Op::Add { out: one_row(1), x: one_row(2) }).unwrap();
}

#[test]
fn outputs_share_no_buffer_with_other_operands() {
    refused(with!(ADD, Add { x = floats(1, 3, 8) }), "add: x shares a buffer with the output out");
    refused(
        with!(ROPE, Rope { positions = ints(1, 3, 1) }),
        "rope: positions shares a buffer with the output x",
    );
    refused(
        with!(MATMUL, Matmul { norm = Some(Norm { weight: floats(1, 1, 8), eps: 0.0 }) }),
        "matmul: norm.weight shares a buffer with the output out",
    );
    refused(
        with!(MOE_ROUTE, MoeRoute { weights = floats(1, 3, 2) }),
        "moe_route: weights shares a buffer with the output ids",
    );
    refused(
        with!(MOE_ROUTE, MoeRoute { logits = floats(2, 3, 4) }),
        "moe_route: logits shares a buffer with the output weights",
    );
    refused(
        with!(WRITE_KV, WriteKv { cache.v = CACHE.k }),
        "write_kv: cache shares a buffer with the output cache",
    );
    refused(
        with!(WRITE_KV, WriteKv { v = floats(21, 3, 16) }),
        "write_kv: v shares a buffer with the output cache",
    );
    refused(
        with!(ATTENTION, Attention { cache.v = Buffer::from_index(1) }),
        "attention: cache shares a buffer with the output out",
    );
}

#[test]
fn embed() {
    refused(
        with!(EMBED, Embed { out.dtype = DType::I32 }),
        "embed: out is i32, expected f32, f16 or bf16",
    );
    refused(with!(EMBED, Embed { ids.rows = 4 }), "embed: ids has 4 rows, expected 3");
    refused(with!(EMBED, Embed { ids = ints(2, 3, 2) }), "embed: ids has 2 columns, expected 1");
    refused(with!(EMBED, Embed { ids.dtype = DType::U32 }), "embed: ids is u32, expected i32");
    refused(with!(EMBED, Embed { table.cols = 9 }), "embed: out has 8 columns, expected 9");
}

#[test]
fn rms_norm_and_head_norm() {
    refused(with!(RMS_NORM, RmsNorm { x = floats(2, 4, 8) }), "rms_norm: x has 4 rows, expected 3");
    refused(
        with!(RMS_NORM, RmsNorm { x.dtype = DType::U32 }),
        "rms_norm: x is u32, expected f32, f16 or bf16",
    );
    refused(
        with!(RMS_NORM, RmsNorm { norm.weight = floats(9, 1, 7) }),
        "rms_norm: norm.weight has 7 columns, expected 8",
    );
    refused(
        with!(RMS_NORM, RmsNorm { norm.weight = floats(9, 2, 8) }),
        "rms_norm: norm.weight has 2 rows, expected 1",
    );
    refused(
        with!(RMS_NORM, RmsNorm { norm.weight.dtype = DType::I32 }),
        "rms_norm: norm.weight is i32, expected f32, f16 or bf16",
    );
    refused(with!(RMS_NORM, RmsNorm { norm.eps = -1.0 }), "rms_norm: norm.eps is -1");
    refused(with!(RMS_NORM, RmsNorm { norm.eps = f32::NAN }), "rms_norm: norm.eps is NaN");
    refused(
        with!(HEAD_NORM, HeadNorm { norm.weight = floats(9, 1, 5) }),
        "head_norm: x: 32 is not a multiple of 5",
    );
    refused(with!(HEAD_NORM, HeadNorm { norm.eps = f32::INFINITY }), "head_norm: norm.eps is inf");
    refused(
        with!(HEAD_NORM, HeadNorm { x.dtype = DType::I32 }),
        "head_norm: x is i32, expected f32, f16 or bf16",
    );
}

#[test]
fn matmul() {
    refused(with!(MATMUL, Matmul { x = floats(2, 4, 8) }), "matmul: x has 4 rows, expected 3");
    refused(with!(MATMUL, Matmul { weight.cols = 9 }), "matmul: x has 8 columns, expected 9");
    refused(with!(MATMUL, Matmul { weight.rows = 11 }), "matmul: weight has 11 rows, expected 12");
    refused(
        with!(MATMUL, Matmul { epilogue = Epilogue::SiluMul }),
        "matmul: weight has 12 rows, expected 24",
    );
    refused(
        with!(MATMUL, Matmul { out.dtype = DType::U32 }),
        "matmul: out is u32, expected f32, f16 or bf16",
    );
    refused(
        with!(MATMUL, Matmul { bias = Some(floats(3, 1, 11)) }),
        "matmul: bias has 11 columns, expected 12",
    );
    refused(
        with!(MATMUL, Matmul { bias = Some(floats(3, 3, 12)) }),
        "matmul: bias has 3 rows, expected 1",
    );
    refused(
        with!(MATMUL, Matmul { bias = Some(ints(3, 1, 12)) }),
        "matmul: bias is i32, expected f32, f16 or bf16",
    );
    refused(
        with!(MATMUL, Matmul { norm = Some(norm_of(12)) }),
        "matmul: norm.weight has 12 columns, expected 8",
    );
}

#[test]
fn rope() {
    refused(with!(ROPE, Rope { head_dim = 5 }), "rope: x: 32 is not a multiple of 5");
    refused(with!(ROPE, Rope { head_dim = 0 }), "rope: x: 32 is not a multiple of 0");
    refused(with!(ROPE, Rope { positions.rows = 2 }), "rope: positions has 2 rows, expected 3");
    refused(with!(ROPE, Rope { table.dtype = DType::F16 }), "rope: table is f16, expected f32");
    refused(
        with!(ROPE, Rope { table = floats(3, 9, 7) }),
        "rope: table has 7 columns, expected an even number up to 8",
    );
    refused(
        with!(ROPE, Rope { table = floats(3, 9, 10) }),
        "rope: table has 10 columns, expected an even number up to 8",
    );
}

#[test]
fn rope_kv() {
    refused(with!(ROPE_KV, RopeKv { qkv.cols = 60 }), "rope_kv: qkv: 60 is not a multiple of 8");
    refused(
        with!(ROPE_KV, RopeKv { qkv.cols = 32 }),
        "rope_kv: qkv has 4 heads, expected more than twice the 2 of the cache",
    );
    refused(
        with!(ROPE_KV, RopeKv { positions.rows = 2 }),
        "rope_kv: positions has 2 rows, expected 3",
    );
    refused(
        with!(ROPE_KV, RopeKv { table = floats(3, 100, 10) }),
        "rope_kv: table has 10 columns, expected an even number up to 8",
    );
    refused(with!(ROPE_KV, RopeKv { slots.rows = 1 }), "rope_kv: slots has 1 rows, expected 3");
    refused(
        with!(ROPE_KV, RopeKv { slots.dtype = DType::U32 }),
        "rope_kv: slots is u32, expected i32",
    );
    let Op::RopeKv { norms: Some([norm, _]), .. } = NORMED_ROPE_KV else { unreachable!() };
    let wide = Norm { weight: Tensor { cols: 9, stride: 9, ..norm.weight }, ..norm };
    refused(
        with!(NORMED_ROPE_KV, RopeKv { norms = Some([norm, wide]) }),
        "rope_kv: norm.weight has 9 columns, expected 8",
    );
}

#[test]
fn a_fused_op_stands_for_ops_that_are_valid() {
    for (op, names) in [
        (ROPE_KV, &["rope", "write_kv"][..]),
        (NORMED_ROPE_KV, &["head_norm", "head_norm", "rope", "write_kv"]),
        (ADD, &["add"]),
    ] {
        let sequence = op.sequence();
        assert_eq!(sequence.iter().map(Op::name).collect::<Vec<_>>(), names);
        sequence.iter().for_each(|op| check(op).unwrap());
    }
}

#[test]
fn write_kv() {
    refused(
        with!(WRITE_KV, WriteKv { k = floats(2, 3, 12) }),
        "write_kv: v has 16 columns, expected 12",
    );
    let narrow = with!(WRITE_KV, WriteKv { k = floats(2, 3, 12) });
    refused(
        with!(narrow, WriteKv { v = floats(3, 3, 12) }),
        "write_kv: k has 12 columns, expected 16",
    );
    refused(
        with!(WRITE_KV, WriteKv { v = floats(3, 4, 16) }),
        "write_kv: v has 4 rows, expected 3",
    );
    refused(with!(WRITE_KV, WriteKv { slots.rows = 1 }), "write_kv: slots has 1 rows, expected 3");
    refused(
        with!(WRITE_KV, WriteKv { slots.dtype = DType::U32 }),
        "write_kv: slots is u32, expected i32",
    );
}

#[test]
fn caches() {
    let sizes = |cache| {
        let what = "expected float, no size of 0, a head_dim of at most 256";
        format!("write_kv: kv {cache}@b20,b21: {what}")
    };
    refused(with!(WRITE_KV, WriteKv { cache.num_blocks = 0 }), &sizes("f16[0x2x16x8]"));
    refused(with!(WRITE_KV, WriteKv { cache.block_size = 0 }), &sizes("f16[10x2x0x8]"));
    refused(with!(WRITE_KV, WriteKv { cache.num_kv_heads = 0 }), &sizes("f16[10x0x16x8]"));
    refused(with!(WRITE_KV, WriteKv { cache.head_dim = 0 }), &sizes("f16[10x2x16x0]"));
    refused(with!(WRITE_KV, WriteKv { cache.head_dim = 257 }), &sizes("f16[10x2x16x257]"));
    refused(with!(WRITE_KV, WriteKv { cache.dtype = DType::I32 }), &sizes("i32[10x2x16x8]"));
    refused(
        with!(WRITE_KV, WriteKv { cache.num_kv_heads = 1 << 24 }),
        "write_kv: 134217728 elements a token, at most 16777216",
    );
    refused(
        with!(WRITE_KV, WriteKv { cache.num_blocks = 1 << 28 }),
        "write_kv: 4294967296 slots, at most 2147483647",
    );
}

#[test]
fn attention() {
    refused(
        with!(ATTENTION, Attention { out.cols = 32 }),
        "attention: q has 64 columns, expected 32",
    );
    refused(
        with!(ATTENTION, Attention { cache.head_dim = 7 }),
        "attention: q: 64 is not a multiple of 7",
    );
    refused(
        with!(ATTENTION, Attention { cache.num_kv_heads = 3 }),
        "attention: the number of query heads: 8 is not a multiple of 3",
    );
    refused(with!(ATTENTION, Attention { scale = f32::INFINITY }), "attention: scale is inf");
    refused(
        with!(ATTENTION, Attention { window = Some(0) }),
        "attention: window is 0, expected at least 1",
    );
    refused(
        with!(ATTENTION, Attention { cache.block_size = 0 }),
        "attention: kv f16[10x2x0x8]@b20,b21: \
         expected float, no size of 0, a head_dim of at most 256",
    );
}

/// It asks for what `rope_kv` and attention ask for.
#[test]
fn attention_with_rope_kv() {
    refused(
        with!(ROPE_ATTENTION, Attention { q = floats(2, 5, 64) }),
        "attention: q has 32 columns, expected 64",
    );
    refused(
        with!(ROPE_ATTENTION, Attention { q = floats(2, 5, 32) }),
        "attention: q has 4 heads, expected more than twice the 2 of the cache",
    );
    let Op::Attention { rope_kv: Some(first), .. } = ROPE_ATTENTION else { unreachable!() };
    let slots = ints(5, 4, 1);
    refused(
        with!(ROPE_ATTENTION, Attention { rope_kv = Some(RopeKv { slots, ..first }) }),
        "attention: slots has 4 rows, expected 5",
    );
    let slots = ints(2, 5, 1);
    refused(
        with!(ROPE_ATTENTION, Attention { rope_kv = Some(RopeKv { slots, ..first }) }),
        "attention: slots shares a buffer with the output q",
    );
}

#[test]
fn a_fused_op_stands_for_ops_that_pass() {
    let names = |op: &Op| op.sequence().iter().map(Op::name).collect::<Vec<_>>();
    assert_eq!(names(&ROPE_ATTENTION), ["rope_kv", "attention"]);
    assert_eq!(names(&ATTENTION), ["attention"]);
    for part in ROPE_ATTENTION.sequence() {
        check(&part).unwrap();
        assert!(part.sequence().iter().all(|part| check(part).is_ok()));
    }
}

#[test]
fn attention_meta() {
    refused(
        with!(ATTENTION, Attention { meta.cu_seqlens = ints(30, 2, 1) }),
        "attention: cu_seqlens has 2 rows, expected 3",
    );
    refused(
        with!(ATTENTION, Attention { meta.context_lens = ints(31, 2, 2) }),
        "attention: context_lens has 2 columns, expected 1",
    );
    refused(
        with!(ATTENTION, Attention { meta.block_tables = ints(32, 3, 4) }),
        "attention: block_tables has 3 rows, expected 2",
    );
    refused(
        with!(ATTENTION, Attention { meta.block_tables = floats(32, 2, 4) }),
        "attention: block_tables is f32, expected i32",
    );
    refused(
        with!(ATTENTION, Attention { meta.decode = true }),
        "attention: a decode batch of 2 sequences has 5 tokens",
    );
}

#[test]
fn elementwise_and_gather() {
    refused(
        with!(SILU_MUL, SiluMul { gate_up = floats(2, 3, 8) }),
        "silu_mul: gate_up has 8 columns, expected 16",
    );
    refused(
        with!(SILU_MUL, SiluMul { gate_up = floats(2, 2, 16) }),
        "silu_mul: gate_up has 2 rows, expected 3",
    );
    refused(
        with!(SILU_MUL, SiluMul { out.dtype = DType::I32 }),
        "silu_mul: out is i32, expected f32, f16 or bf16",
    );
    refused(with!(ADD, Add { x = floats(2, 2, 8) }), "add: x has 2 rows, expected 3");
    refused(with!(ADD, Add { x = floats(2, 3, 7) }), "add: x has 7 columns, expected 8");
    refused(
        with!(ADD, Add { out.dtype = DType::I32 }),
        "add: out is i32, expected f32, f16 or bf16",
    );
    refused(with!(GATHER, Gather { x = floats(2, 3, 7) }), "gather: x has 7 columns, expected 8");
    refused(with!(GATHER, Gather { rows.rows = 3 }), "gather: rows has 3 rows, expected 2");
    refused(with!(GATHER, Gather { rows = floats(3, 2, 1) }), "gather: rows is f32, expected i32");
}

#[test]
fn moe_route() {
    refused(
        with!(MOE_ROUTE, MoeRoute { ids = ints(1, 2, 2) }),
        "moe_route: ids has 2 rows, expected 3",
    );
    refused(
        with!(MOE_ROUTE, MoeRoute { ids.dtype = DType::U32 }),
        "moe_route: ids is u32, expected i32",
    );
    refused(
        with!(MOE_ROUTE, MoeRoute { weights = floats(2, 3, 3) }),
        "moe_route: weights has 3 columns, expected 2",
    );
    refused(
        with!(MOE_ROUTE, MoeRoute { weights.dtype = DType::F16 }),
        "moe_route: weights is f16, expected f32",
    );
    refused(with!(MOE_ROUTE, MoeRoute { logits = floats(3, 3, 1) }), "moe_route: 2 of 1 experts");
    refused(
        with!(MOE_ROUTE, MoeRoute { logits.dtype = DType::I32 }),
        "moe_route: logits is i32, expected f32, f16 or bf16",
    );
}

#[test]
fn moe_experts() {
    refused(
        with!(MOE_GATE_UP, MoeGateUp { out = floats(1, 5, 5) }),
        "moe_gate_up: 5 rows for 6 chosen experts",
    );
    refused(
        with!(MOE_GATE_UP, MoeGateUp { ids = ints(3, 4, 2) }),
        "moe_gate_up: ids has 4 rows, expected 3",
    );
    refused(
        with!(MOE_GATE_UP, MoeGateUp { weight.cols = 9 }),
        "moe_gate_up: x has 8 columns, expected 9",
    );
    refused(
        with!(MOE_GATE_UP, MoeGateUp { num_experts = 3 }),
        "moe_gate_up: weight has 40 rows, expected 3 experts x 10",
    );
    refused(
        with!(MOE_GATE_UP, MoeGateUp { num_experts = 0 }),
        "moe_gate_up: weight has 40 rows, expected 0 experts x 10",
    );
    refused(
        with!(MOE_DOWN, MoeDown { x = floats(2, 3, 5) }),
        "moe_down: 3 rows for 6 chosen experts",
    );
    refused(
        with!(MOE_DOWN, MoeDown { weights = floats(4, 3, 1) }),
        "moe_down: weights has 1 columns, expected 2",
    );
    refused(
        with!(MOE_DOWN, MoeDown { weights.dtype = DType::Bf16 }),
        "moe_down: weights is bf16, expected f32",
    );
    refused(
        with!(MOE_DOWN, MoeDown { ids.dtype = DType::F32 }),
        "moe_down: ids is f32, expected i32",
    );
    refused(
        with!(MOE_DOWN, MoeDown { weight.rows = 31 }),
        "moe_down: weight has 31 rows, expected 4 experts x 8",
    );
}

#[test]
fn sample() {
    refused(with!(SAMPLE, Sample { out.dtype = DType::F32 }), "sample: out is f32, expected i32");
    refused(with!(SAMPLE, Sample { out.rows = 2 }), "sample: out has 2 rows, expected 3");
    refused(
        with!(SAMPLE, Sample { logits.dtype = DType::F16 }),
        "sample: logits is f16, expected f32",
    );
    refused(with!(SAMPLE, Sample { params.rows = 2 }), "sample: params has 2 rows, expected 3");
    refused(
        with!(SAMPLE, Sample { params = ints(3, 3, 7) }),
        "sample: params has 7 columns, expected 8",
    );
    refused(
        with!(SAMPLE, Sample { params.dtype = DType::I32 }),
        "sample: params is i32, expected u32",
    );
}
