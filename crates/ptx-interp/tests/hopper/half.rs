//! Arithmetic of bf16 and f16 in registers, on integers small enough for every result to be exact.

use crate::device::{Device, SEEDS, params};

const OPERATIONS: usize = 10;

/// A format of 16 bits.
#[derive(Clone, Copy)]
enum Half {
    Bf16,
    F16,
}

impl Half {
    /// The bits of a number that the format holds exactly.
    fn bits(self, value: f32) -> u16 {
        let bits = value.to_bits();
        match self {
            Self::Bf16 => (bits >> 16) as u16,
            Self::F16 if value == 0.0 => (bits >> 16) as u16,
            Self::F16 => {
                let rebias = (127 - 15) << 10;
                (bits >> 16 & 0x8000) as u16 | ((bits >> 13 & 0x3_ffff) - rebias) as u16
            }
        }
    }

    /// The number of normal bits.
    fn value(self, bits: u16) -> f32 {
        let wide = u32::from(bits);
        f32::from_bits(match self {
            Self::Bf16 => wide << 16,
            Self::F16 if wide & 0x7fff == 0 => wide << 16,
            Self::F16 => ((wide & 0x8000) << 16) | (((wide & 0x7fff) << 13) + ((127 - 15) << 23)),
        })
    }
}

/// The operands of element `i`.
fn operands(i: usize) -> (f32, f32) {
    ((i * 5 % 16) as f32 - 8.0, (i * 11 % 15) as f32 - 7.0)
}

/// What the kernel computes of element `i`, the lower of its pair if `i` is even.
fn expected(i: usize) -> [f32; OPERATIONS] {
    let (a, b) = operands(i);
    let fma = a * b + a;
    let (chosen, clamped) = if i.is_multiple_of(2) {
        (if a > b { a } else { b }, fma.clamp(0.0, 1.0))
    } else {
        (if a <= b { a } else { b }, fma.max(0.0))
    };
    [a + b, a - b, a * b, fma, a.min(b), a.max(b), -a.abs(), a.exp2(), chosen, clamped]
}

#[test]
fn every_operation_gives_the_exact_result() {
    for (half, kernel) in [(Half::Bf16, "bf16_operations"), (Half::F16, "f16_operations")] {
        for seed in SEEDS {
            let device = Device::new(include_str!("../ptx/half.ptx"));
            let bytes = |f: fn(usize) -> f32| -> Vec<u8> {
                (0..64).flat_map(|i| half.bits(f(i)).to_le_bytes()).collect()
            };
            let a = device.upload(&bytes(|i| operands(i).0));
            let b = device.upload(&bytes(|i| operands(i).1));
            let out = device.memory.alloc(128 * OPERATIONS as u64).unwrap();
            let params = params(&[out, a, b], &[]);
            device.run(&[device.launch(kernel, [1, 32, 1], &params)], seed).unwrap();
            let mut result = vec![0; 128 * OPERATIONS];
            device.memory.read(out, &mut result).unwrap();
            for i in 0..64 {
                for (operation, want) in expected(i).into_iter().enumerate() {
                    let at = 4 * (i / 2 * OPERATIONS + operation) + i % 2 * 2;
                    let got = half.value(u16::from_le_bytes([result[at], result[at + 1]]));
                    assert_eq!(got, want, "{kernel} operation {operation} of {:?}", operands(i));
                }
            }
        }
    }
}
