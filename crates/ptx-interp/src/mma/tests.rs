//! Fragment layouts and products against plain loops over whole matrices.

use super::*;

/// A small integer for element (row, column), exact in every supported type.
fn element(row: usize, column: usize, salt: usize) -> f32 {
    ((row * 31 + column * 17 + salt * 7) % 23) as f32 - 11.0
}

fn bits(element: Element, value: f32) -> u32 {
    let half = |half: crate::half_math::Half| u32::from(half.nearest(f64::from(value)));
    match element {
        Element::F16 => half(crate::half_math::Half::F16),
        Element::Bf16 => half(crate::half_math::Half::Bf16),
        Element::Tf32 => value.to_bits() | 0x1fff,
    }
}

/// A as the table of the PTX ISA puts it: element i of a lane, for 16-bit types, lies in row g for
/// i in {0, 1, 4, 5} and else g + 8, in column 2t + i % 2, plus 8 for i >= 4.
fn a_fragment(shape: Shape) -> Vec<Fragment> {
    let mut a = vec![[0; 32]; shape.num_a_registers()];
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        let two = |i: usize| {
            let row = if i & 2 == 0 { g } else { g + 8 };
            bits(shape.element, element(row, 2 * t + i % 2 + if i >= 4 { 8 } else { 0 }, 1))
        };
        let one = |i: usize| {
            let row = if i & 1 == 0 { g } else { g + 8 };
            bits(shape.element, element(row, t + if i >= 2 { 4 } else { 0 }, 1))
        };
        for (i, register) in a.iter_mut().enumerate() {
            register[lane] = match shape.element {
                Element::Tf32 => one(i),
                _ => two(2 * i) | two(2 * i + 1) << 16,
            };
        }
    }
    a
}

/// B: row 2t + i % 2, plus 8 for i >= 2, column g.
fn b_fragment(shape: Shape) -> Vec<Fragment> {
    let mut b = vec![[0; 32]; shape.num_b_registers()];
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        let two = |i: usize| {
            bits(shape.element, element(2 * t + i % 2 + if i >= 2 { 8 } else { 0 }, g, 2))
        };
        for (i, register) in b.iter_mut().enumerate() {
            register[lane] = match shape.element {
                Element::Tf32 => bits(shape.element, element(t + 4 * i, g, 2)),
                _ => two(2 * i) | two(2 * i + 1) << 16,
            };
        }
    }
    b
}

#[test]
fn every_shape_multiplies_as_plain_loops_do() {
    let shapes = [
        (Element::F16, 8),
        (Element::F16, 16),
        (Element::Bf16, 8),
        (Element::Bf16, 16),
        (Element::Tf32, 4),
        (Element::Tf32, 8),
    ];
    for (kind, depth) in shapes {
        let shape = Shape::new(kind, depth).unwrap();
        let mut c = [[0; 32]; 4];
        for (i, register) in c.iter_mut().enumerate() {
            for (lane, value) in register.iter_mut().enumerate() {
                let (row, column) = (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2);
                *value = element(row, column, 3).to_bits();
            }
        }
        let d = shape.multiply(&a_fragment(shape), &b_fragment(shape), &c);
        for (i, register) in d.iter().enumerate() {
            for (lane, &value) in register.iter().enumerate() {
                let (row, column) = (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2);
                let products = (0..depth).map(|k| element(row, k, 1) * element(k, column, 2));
                let expected = products.sum::<f32>() + element(row, column, 3);
                assert_eq!(f32::from_bits(value), expected, "{shape:?} row {row} column {column}");
            }
        }
    }
}

#[test]
fn only_shapes_of_the_isa_exist() {
    assert!(Shape::new(Element::Tf32, 16).is_none());
    assert!(Shape::new(Element::Bf16, 4).is_none());
}
