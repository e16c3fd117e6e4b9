//! A kernel around one instruction, to compare it with Rust.

use crate::device::{Device, params};

/// The widths in bits of the result and of up to three operands; 1 is a predicate.
pub(crate) type Widths<'a> = (u32, &'a [u32]);

/// Results of `instruction` for each row of operands. The instruction names its registers `%d`,
/// `%a`, `%b` and `%c`.
pub(crate) fn results(instruction: &str, widths: Widths<'_>, rows: &[[u64; 3]]) -> Vec<u64> {
    let device = Device::new(&kernel(instruction, widths));
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let input = device.upload(&bytes);
    let out = device.upload(&vec![0; 8 * rows.len()]);
    let params = params(&[out, input], &[rows.len() as i32, 0]);
    let blocks = rows.len().div_ceil(256) as u32;
    device.run(&[device.launch("one", [blocks, 256, 1], &params)], 0).unwrap();
    let mut bytes = vec![0; 8 * rows.len()];
    device.memory.read(out, &mut bytes).unwrap();
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

fn kernel(instruction: &str, (result, operands): Widths<'_>) -> String {
    let ty = |bits: u32| if bits == 1 { "pred".to_owned() } else { format!("b{bits}") };
    let mut body = format!(".reg .{} %d;\n", ty(result));
    for (at, (name, bits)) in ["a", "b", "c"].iter().zip(operands).enumerate() {
        body += &format!(".reg .{} %{name};\n", ty(*bits));
        body += &match bits {
            1 => format!("ld.global.b32 %word, [%in+{}]; setp.ne.u32 %{name}, %word, 0;\n", 8 * at),
            bits => format!("ld.global.b{bits} %{name}, [%in+{}];\n", 8 * at),
        };
    }
    body += instruction;
    body += &match result {
        1 => "\nselp.b32 %word, 1, 0, %d; st.global.b32 [%out], %word;".to_owned(),
        bits => format!("\nst.global.b{bits} [%out], %d;"),
    };
    format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n\
         .visible .entry one(.param .align 8 .b8 p[24]) {{\n\
         .reg .b64 %in, %out; .reg .b32 %word, %i, %n, %t; .reg .pred %past;\n\
         ld.param.u64 %out, [p]; ld.param.u64 %in, [p+8]; ld.param.u32 %n, [p+16];\n\
         mov.u32 %t, %ctaid.x; mov.u32 %i, %tid.x; mad.lo.u32 %i, %t, 256, %i;\n\
         setp.ge.u32 %past, %i, %n; @%past exit;\n\
         mad.wide.u32 %out, %i, 8, %out; mad.wide.u32 %in, %i, 24, %in;\n\
         {body}\nret; }}\n"
    )
}

/// All combinations of `values` as three operands.
pub(crate) fn triples(values: &[u64]) -> Vec<[u64; 3]> {
    let pairs = values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| values.iter().map(move |c| [a, b, *c])).collect()
}
