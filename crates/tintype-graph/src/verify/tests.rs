//! Finding the first difference.

use tintype_ops::{Buffer, DType};

use super::*;

fn tensor(index: u32) -> Tensor {
    Tensor::new(Buffer::from_index(index), 2, 4, DType::F32)
}

fn add(out: u32, x: u32) -> Op {
    Op::Add { out: tensor(out), x: tensor(x) }
}

fn gather(rows: Tensor) -> Op {
    Op::Gather { out: tensor(0), x: tensor(1), rows }
}

fn difference(captured: &[Op], found: &[Op]) -> String {
    first_difference(captured, found).unwrap().to_string()
}

#[test]
fn equal_steps_have_no_difference() {
    assert_eq!(first_difference(&[add(0, 1), add(2, 3)], &[add(0, 1), add(2, 3)]), None);
    assert_eq!(first_difference(&[], &[]), None);
}

#[test]
fn another_tensor_is_named_with_its_op() {
    let message = difference(&[add(0, 1), add(2, 3)], &[add(0, 1), add(2, 4)]);
    assert_eq!(message, "op 1 (add): x is f32[2x4]@b4, but f32[2x4]@b3 was captured");
}

#[test]
fn another_view_of_the_same_buffer_is_a_difference() {
    let whole = Tensor::new(Buffer::from_index(7), 8, 1, DType::I32);
    let (captured, found) = (whole.first_rows(2), Tensor { offset: 2, ..whole.first_rows(2) });
    let message = difference(&[gather(captured)], &[gather(found)]);
    assert_eq!(message, "op 0 (gather): rows is i32[2x1]@b7+2, but i32[2x1]@b7 was captured");
}

#[test]
fn another_op_or_scalar_shows_both() {
    let scaled = |eps| Op::RmsNorm {
        out: tensor(0),
        x: tensor(1),
        norm: tintype_ops::Norm { weight: tensor(2), eps },
    };
    let message = difference(&[add(0, 1)], &[scaled(1.0)]);
    assert!(message.contains("op 0 `rms_norm") && message.contains("`add out="), "{message}");
    let message = difference(&[scaled(1.0)], &[scaled(2.0)]);
    assert!(message.contains("eps=2e0") && message.contains("eps=1e0"), "{message}");
}

#[test]
fn a_longer_or_shorter_step_is_a_difference() {
    let message = difference(&[add(0, 1)], &[add(0, 1), add(2, 3)]);
    assert_eq!(message, "the step queues 2 ops, but 1 were captured");
    assert_eq!(difference(&[add(0, 1)], &[]), "the step queues 0 ops, but 1 were captured");
}

#[test]
fn a_mismatch_names_element_and_bits() {
    let bytes = |values: [f32; 8]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut values = [0.0; 8];
    let eager = Outputs(vec![(tensor(3), bytes(values))]);
    assert_eq!(eager.first_mismatch(&Outputs(vec![(tensor(3), bytes(values))]), 0), None);
    values[6] = 1.0;
    let replay = Outputs(vec![(tensor(3), bytes(values))]);
    let mismatch = eager.first_mismatch(&replay, 1).unwrap();
    assert_eq!((mismatch.row, mismatch.col), (1, 2));
    let expected = "f32[2x4]@b3 row 1 column 2 is 0x3f800000 replayed, 0x00000000 eager \
                    (inputs of seed 1)";
    assert_eq!(mismatch.to_string(), expected);
}
