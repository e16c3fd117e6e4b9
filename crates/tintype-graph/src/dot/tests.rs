//! Which op feeds which.

use tintype_ops::KvCache;

use super::*;

fn tensor(index: u32, cols: u32) -> Tensor {
    Tensor::new(Buffer::from_index(index), 2, cols, DType::F32)
}

fn column(index: u32) -> Tensor {
    Tensor::new(Buffer::from_index(index), 2, 1, DType::I32)
}

/// A gather: the smallest op that only writes its output.
fn copy(out: Tensor, x: Tensor) -> Op {
    Op::Gather { out, x, rows: column(99) }
}

/// `0>1(x)`: from op 0 to op 1, read as `x`.
fn edges(ops: &[Op]) -> String {
    let edges = data_flow(ops).into_iter();
    let shown = edges.map(|((from, to), names)| format!("{from}>{to}({})", names.join(",")));
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn data_flows_from_the_last_writer() {
    let [a, b, c] = [tensor(0, 4), tensor(1, 4), tensor(2, 4)];
    assert_eq!(edges(&[copy(b, a), copy(c, b), copy(b, c), copy(c, b)]), "0>1(x) 1>2(x) 2>3(x)");
}

#[test]
fn an_op_in_place_reads_what_it_changes() {
    let [a, b, c] = [tensor(0, 4), tensor(1, 4), tensor(2, 4)];
    let ops = [copy(b, a), Op::Add { out: b, x: a }, copy(c, b)];
    assert_eq!(edges(&ops), "0>1(out) 1>2(x)");
}

#[test]
fn columns_of_one_buffer_are_told_apart() {
    let whole = tensor(0, 8);
    let (left, right, out) = (whole.columns(0, 4), whole.columns(4, 4), tensor(1, 4));
    let ops = [copy(left, tensor(2, 4)), copy(right, tensor(3, 4)), copy(out, right)];
    assert_eq!(edges(&ops), "1>2(x)");
    let both = [ops[0], ops[1], copy(tensor(1, 8), whole)];
    assert_eq!(edges(&both), "0>2(x) 1>2(x)");
}

#[test]
fn fewer_rows_are_a_part_of_more() {
    let (all, one) = (tensor(0, 4), tensor(0, 4).first_rows(1));
    let ops = [copy(all, tensor(1, 4)), copy(one, tensor(2, 4)), copy(tensor(3, 4), all)];
    assert_eq!(edges(&ops), "0>2(x) 1>2(x)");
}

#[test]
fn another_width_falls_back_to_bytes() {
    let narrow = Tensor::new(Buffer::from_index(0), 4, 2, DType::F32);
    assert_eq!(edges(&[copy(tensor(0, 4), tensor(1, 4)), copy(tensor(2, 2), narrow)]), "0>1(x)");
}

#[test]
fn a_cache_carries_data_from_its_write_to_attention() {
    let cache = KvCache {
        k: Buffer::from_index(10),
        v: Buffer::from_index(11),
        num_blocks: 1,
        block_size: 4,
        num_kv_heads: 1,
        head_dim: 4,
        dtype: DType::F32,
    };
    let write = Op::WriteKv { cache, k: tensor(0, 4), v: tensor(1, 4), slots: column(2) };
    let meta = tintype_ops::AttentionMeta {
        cu_seqlens: column(3),
        context_lens: column(4),
        block_tables: column(5),
        decode: true,
    };
    let (out, q) = (tensor(6, 4), tensor(7, 4));
    let attention = Op::Attention { out, q, cache, rope_kv: None, meta, scale: 1.0, window: None };
    assert_eq!(edges(&[write, attention]), "0>1(cache)");
}

#[test]
fn draws_nodes_and_edges() {
    let ops = [copy(tensor(1, 4), tensor(0, 4)), copy(tensor(2, 4), tensor(1, 4))];
    let expected = "digraph ops {\n  node [shape=box, fontname=monospace];\n  \
                    op0 [label=\"0 gather\\nf32[2x4]@b1\"];\n  \
                    op1 [label=\"1 gather\\nf32[2x4]@b2\"];\n  \
                    op0 -> op1 [label=\"x\"];\n}\n";
    assert_eq!(to_dot(&ops), expected);
}
