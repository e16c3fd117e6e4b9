//! How ops are printed, and what they say they read and write.

use super::*;
use crate::Buffer;
use crate::sample_ops::*;

/// The lines that the op list of a forward pass is made of.
const PRINTED: &str = "\
embed out=f32[3x8]@b1 ids=i32[3x1]@b2 table=bf16[100x8]@w0
rms_norm out=f32[3x8]@b1 x=f32[3x8]@b2 norm.weight=f32[1x8]@b9 eps=1e-5
head_norm x=f32[3x32]@b1 norm.weight=f32[1x8]@b9 eps=1e-5
matmul out=f32[3x12]@b1 x=f32[3x8]@b2 weight=bf16[12x8]@w0
matmul out=f32[3x6]@b1 x=f32[3x8]@b2 weight=bf16[12x8]@w0 bias=f32[1x12]@b3 \
norm.weight=f32[1x8]@b9 eps=1e-5 silu_mul
matmul out=f32[3x12]@b1 x=f32[3x8]@b2 weight=bf16[12x8]@w0 +=
rope x=f32[3x32]@b1 positions=i32[3x1]@b2 table=f32[100x6]@b3 head_dim=8
write_kv cache=kv f16[10x2x16x8]@b20,b21 k=f32[3x16]@b2 v=f32[3x16]@b3 slots=i32[3x1]@b4
rope_kv qkv=f32[3x64]@b1 cache=kv f16[10x2x16x8]@b20,b21 positions=i32[3x1]@b2 \
table=f32[100x6]@b3 slots=i32[3x1]@b4
rope_kv qkv=f32[3x64]@b1 cache=kv f16[10x2x16x8]@b20,b21 norms.q.weight=f32[1x8]@b9 \
norms.k.weight=f32[1x8]@b9 positions=i32[3x1]@b2 table=f32[100x6]@b3 slots=i32[3x1]@b4 \
eps=1e-5 eps=1e-5
attention out=f32[5x64]@b1 q=f32[5x64]@b2 cache=kv f16[10x2x16x8]@b20,b21 \
meta.cu_seqlens=i32[3x1]@b30 meta.context_lens=i32[2x1]@b31 meta.block_tables=i32[2x4]@b32 \
mixed scale=0.125 window=64
attention out=f32[2x64]@b1 q=f32[2x64]@b2 cache=kv f16[10x2x16x8]@b20,b21 \
meta.cu_seqlens=i32[3x1]@b30 meta.context_lens=i32[2x1]@b31 meta.block_tables=i32[2x4]@b32 \
decode scale=0.125
attention out=f32[5x64]@b1 q=f32[5x96]@b2 cache=kv f16[10x2x16x8]@b20,b21 \
norms.q.weight=f32[1x8]@b9 norms.k.weight=f32[1x8]@b9 positions=i32[5x1]@b3 table=f32[100x6]@b4 \
slots=i32[5x1]@b5 meta.cu_seqlens=i32[3x1]@b30 meta.context_lens=i32[2x1]@b31 \
meta.block_tables=i32[2x4]@b32 eps=1e-5 eps=1e-5 mixed scale=0.125 window=64
silu_mul out=f32[3x8]@b1 gate_up=f32[3x16]@b2
add out=f32[3x8]@b1 x=f32[3x8]@b2
gather out=f32[2x8]@b1 x=f32[3x8]@b2 rows=i32[2x1]@b3
moe_route ids=i32[3x2]@b1 weights=f32[3x2]@b2 logits=f32[3x4]@b3 renormalize=true
moe_gate_up out=f32[6x5]@b1 x=f32[3x8]@b2 weight=bf16[40x8]@w0 ids=i32[3x2]@b3 num_experts=4
moe_down out=f32[3x8]@b1 x=f32[6x5]@b2 weight=bf16[32x5]@w0 ids=i32[3x2]@b3 \
weights=f32[3x2]@b4 num_experts=4
sample out=i32[3x1]@b1 logits=f32[3x100]@b2 params=u32[3x8]@b3";

#[test]
fn ops_print_as_one_line_each() {
    for (op, line) in EVERY_OP.iter().zip(PRINTED.lines()) {
        assert_eq!(op.to_string(), line);
    }
    assert_eq!(PRINTED.lines().count(), EVERY_OP.len());
}

#[test]
fn views_print_where_they_lie() {
    let tensor = floats(7, 4, 10);
    assert_eq!(tensor.columns(2, 3).to_string(), "f32[4x3]@b7+2/10");
    assert_eq!(tensor.columns(2, 3).first_rows(1).to_string(), "f32[1x3]@b7+2");
}

#[test]
fn every_name_belongs_to_an_op_in_order() {
    let mut names: Vec<&str> = EVERY_OP.iter().map(Op::name).collect();
    names.dedup();
    assert_eq!(names, Op::NAMES);
}

/// The names of the operands of an op that are accessed in this way.
fn accessed(op: Op, access: Access) -> Vec<&'static str> {
    let operands = op.operands().into_iter().filter(|operand| operand.access == access);
    operands.map(|operand| operand.name).collect()
}

#[test]
fn outputs_are_written_or_updated_and_all_else_is_read() {
    for (op, write, update) in [
        (EMBED, "out", ""),
        (RMS_NORM, "out", ""),
        (HEAD_NORM, "", "x"),
        (MATMUL, "out", ""),
        (GATED_MATMUL, "out", ""),
        (RESIDUAL_MATMUL, "", "out"),
        (ROPE, "", "x"),
        (WRITE_KV, "", "cache"),
        (ATTENTION, "out", ""),
        (ROPE_ATTENTION, "out", "cache"),
        (SILU_MUL, "out", ""),
        (ADD, "", "out"),
        (GATHER, "out", ""),
        (MOE_ROUTE, "ids weights", ""),
        (MOE_GATE_UP, "out", ""),
        (MOE_DOWN, "", "out"),
        (SAMPLE, "out", ""),
    ] {
        assert_eq!(accessed(op, Access::Write).join(" "), write, "{op}");
        assert_eq!(accessed(op, Access::Update).join(" "), update, "{op}");
    }
}

#[test]
fn what_is_consumed_is_read_and_lost() {
    assert_eq!(accessed(ROPE_ATTENTION, Access::Consume), ["q"]);
    assert!(accessed(ATTENTION, Access::Consume).is_empty());
}

#[test]
fn outputs_come_first() {
    for op in EVERY_OP {
        let operands = op.operands();
        let first_read = operands.iter().position(|operand| operand.access == Access::Read);
        let after = &operands[first_read.expect("every op reads something")..];
        assert!(after.iter().all(|operand| operand.access == Access::Read), "{op}");
    }
}

#[test]
fn operands_name_the_memory_of_their_field() {
    let expected = [
        ("cache", Memory::Cache(CACHE)),
        ("k", Memory::Tensor(floats(2, 3, 16))),
        ("v", Memory::Tensor(floats(3, 3, 16))),
        ("slots", Memory::Tensor(ints(4, 3, 1))),
    ];
    let found = WRITE_KV.operands().into_iter().map(|operand| (operand.name, operand.memory));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let weight = Memory::Weight(weight(100, 8));
    assert!(EMBED.operands().iter().any(|operand| operand.memory == weight));
    assert_eq!(weight.to_string(), "bf16[100x8]@w0");
    assert_eq!(Memory::Tensor(floats(3, 1, 2)).to_string(), "f32[1x2]@b3");
    assert_eq!(Buffer::from_index(3).index(), 3);
}
