//! Where op lists are cut.

use tintype_ops::{Buffer, DType, Tensor};

use super::*;

fn tensor(index: u32) -> Tensor {
    Tensor::new(Buffer::from_index(index), 1, 4, DType::F32)
}

/// `a` is an add, `g` a silu_mul.
fn ops(letters: &str) -> Vec<Op> {
    let op = |letter| match letter {
        'a' => Op::Add { out: tensor(0), x: tensor(1) },
        _ => Op::SiluMul { out: tensor(0), gate_up: tensor(1) },
    };
    letters.chars().map(op).collect()
}

/// Ranges for graphs, `|` for cuts.
fn pieces(letters: &str, splitting_ops: &[&str]) -> String {
    let names: Vec<String> = splitting_ops.iter().map(|&name| name.to_owned()).collect();
    let pieces = split(&ops(letters), &names);
    let show = |piece: &Piece| match piece {
        Piece::Graph(range) => letters[range.clone()].to_owned(),
        Piece::Cut(_) => "|".to_owned(),
    };
    pieces.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn layers_give_one_graph_more_than_cuts() {
    assert_eq!(pieces("aagaaagaa", &["silu_mul"]), "aa | aaa | aa");
    for num_layers in 0..8 {
        let letters = format!("a{}", "ga".repeat(num_layers));
        let pieces = split(&ops(&letters), &["silu_mul".to_owned()]);
        let graphs = pieces.iter().filter(|piece| matches!(piece, Piece::Graph(_))).count();
        assert_eq!((graphs, pieces.len() - graphs), (num_layers + 1, num_layers));
    }
}

#[test]
fn no_splitting_op_gives_one_piece() {
    assert_eq!(pieces("agaga", &[]), "agaga");
    assert_eq!(pieces("agaga", &["attention"]), "agaga");
}

#[test]
fn empty_runs_are_no_pieces() {
    assert_eq!(pieces("gagga", &["silu_mul"]), "| a | | a");
    assert_eq!(pieces("ag", &["silu_mul", "add"]), "| |");
    assert_eq!(pieces("", &["silu_mul"]), "");
}

#[test]
fn cuts_name_their_op() {
    let pieces = split(&ops("aga"), &["silu_mul".to_owned()]);
    assert_eq!(pieces, [Piece::Graph(0..1), Piece::Cut(1), Piece::Graph(2..3)]);
}
