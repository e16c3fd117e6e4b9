//! Tensor cores: `mma`, `wgmma`, `ldmatrix`, `stmatrix`, `movmatrix`.

use super::Table;
use super::async_copy::access;
use super::body::Body;
use super::operands::Decoded;
use super::statement::{Operand, Statement};
use crate::exec::matrix::{MoveMatrices, Multiply};
use crate::exec::space::Space;
use crate::exec::wgmma::{ProductSync, StartProduct};
use crate::instruction::Op;
use crate::lanes::Slot;
use crate::mma::{Element, Shape};

pub(super) const TABLE: &Table = &[
    ("mma", mma),
    ("wgmma", wgmma),
    ("ldmatrix", ldmatrix),
    ("stmatrix", stmatrix),
    ("movmatrix", movmatrix),
];

/// `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 d, a, b, c`
fn mma<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    for expected in ["sync", "aligned", "row", "col"] {
        s.modifiers.require(expected)?;
    }
    let depth = s.modifiers.find(|modifier| modifier.strip_prefix("m16n8k")?.parse().ok());
    let depth = depth.ok_or("no shape m16n8k8 or m16n8k16, the only ones supported")?;
    s.modifiers.require("f32")?;
    let [a, b] = [element(s)?, element(s)?];
    s.modifiers.require("f32")?;
    let shape = Shape::new(a, depth).filter(|_| a == b);
    let shape = shape.ok_or_else(|| format!("m16n8k{depth} of {a:?} and {b:?} is unsupported"))?;
    let [dst, a, b, c] = s.operands()?;
    let multiply = Multiply {
        shape,
        a: fragment(body, a, shape.num_a_registers())?,
        b: fragment(body, b, shape.num_b_registers())?,
        c: four(&fragment(body, c, 4)?)?,
        dst: four(&written(body, dst)?)?,
    };
    Ok(Op::Multiply(Box::new(multiply)))
}

/// `wgmma.fence`, `wgmma.commit_group`, `wgmma.wait_group n`, `wgmma.mma_async`
fn wgmma<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.require("sync")?;
    s.modifiers.require("aligned")?;
    if s.modifiers.take("mma_async") {
        return start_product(body, s);
    }
    let sync = match s.operands.as_slice() {
        [] if s.modifiers.take("fence") => ProductSync::Fence,
        [] if s.modifiers.take("commit_group") => ProductSync::Commit,
        [Operand::Integer(pending @ 0..8)] if s.modifiers.take("wait_group") => {
            ProductSync::Wait(*pending as usize)
        }
        _ => return Err("no wgmma instruction that is known".to_owned()),
    };
    Ok(Op::ProductSync(sync))
}

/// `wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 d, a, b-desc, accumulate, 1, 1, 0`
fn start_product<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let columns = s.modifiers.find(|modifier| {
        let columns = modifier.strip_prefix("m64n")?.strip_suffix("k16")?.parse().ok()?;
        (8usize..=256).contains(&columns).then_some(columns)
    });
    let columns = columns.filter(|columns| columns % 8 == 0).ok_or("no shape m64n*k16")?;
    s.modifiers.require("f32")?;
    let [a_element, b_element] = [element(s)?, element(s)?];
    if a_element != b_element || a_element == Element::Tf32 {
        return Err(format!("products of {a_element:?} and {b_element:?} are not supported"));
    }
    let [d, a, b, accumulate, scale_a, scale_b, transposed] = s.operands()?;
    let plain = [(scale_a, 1), (scale_b, 1), (transposed, 0)];
    if plain.iter().any(|(found, value)| **found != Operand::Integer(*value)) {
        return Err("negated or transposed operands are not supported".to_owned());
    }
    if !matches!(a, Operand::Vector(_)) {
        return Err("A in shared memory is not supported".to_owned());
    }
    let product = StartProduct {
        element: a_element,
        sums: fragment(body, d, columns / 2)?,
        a: four(&fragment(body, a, 4)?)?,
        b: body.source::<u64>(b)?,
        accumulate: body.source::<bool>(accumulate)?,
    };
    written(body, d)?;
    Ok(Op::StartProduct(Box::new(product)))
}

fn element(s: &mut Statement<'_>) -> Result<Element, String> {
    let found = s.modifiers.find(|modifier| match modifier {
        "f16" => Some(Element::F16),
        "bf16" => Some(Element::Bf16),
        "tf32" => Some(Element::Tf32),
        _ => None,
    });
    found.ok_or_else(|| "elements other than f16, bf16 and tf32 are not supported".to_owned())
}

/// The registers of a fragment to read, each of 32 bits.
fn fragment<'a>(
    body: &mut Body<'a, '_>,
    operand: &Operand<'a>,
    len: usize,
) -> Result<Vec<Slot<u32>>, String> {
    let elements = Body::elements(operand);
    if elements.len() != len {
        return Err(format!("a fragment of {} registers, expected {len}", elements.len()));
    }
    elements.iter().map(|element| body.source::<u32>(element)).collect()
}

/// The registers of a fragment to write.
fn written<'a>(body: &mut Body<'a, '_>, operand: &Operand<'a>) -> Result<Vec<Slot<u32>>, String> {
    Body::elements(operand).iter().map(|element| body.destination::<u32>(element)).collect()
}

fn four(slots: &[Slot<u32>]) -> Result<[Slot<u32>; 4], String> {
    slots.try_into().map_err(|_| format!("{} registers, expected 4", slots.len()))
}

/// `ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {d0, d1, d2, d3}, [address]`
fn ldmatrix<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let (num, transposed, space) = matrices(s)?;
    let [dst, address] = s.operands()?;
    let registers = written(body, dst)?;
    let access = access(body, address, space, 16)?;
    moved(num, MoveMatrices { access, transposed, registers }).map(Op::LoadMatrices)
}

/// `stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [address], {a0, a1, a2, a3}`
fn stmatrix<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let (num, transposed, space) = matrices(s)?;
    let [address, source] = s.operands()?;
    let registers = fragment(body, source, num)?;
    let access = access(body, address, space, 16)?;
    moved(num, MoveMatrices { access, transposed, registers }).map(Op::StoreMatrices)
}

/// `movmatrix.sync.aligned.m8n8.trans.b16 d, a`
fn movmatrix<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    for expected in ["sync", "aligned", "m8n8", "trans", "b16"] {
        s.modifiers.require(expected)?;
    }
    let [dst, source] = s.operands()?;
    let source = body.source::<u32>(source)?;
    Ok(Op::TransposeMatrix { dst: body.destination::<u32>(dst)?, source })
}

/// How many matrices, whether transposed, and where they lie.
fn matrices(s: &mut Statement<'_>) -> Result<(usize, bool, Space), String> {
    for expected in ["sync", "aligned", "m8n8", "b16"] {
        s.modifiers.require(expected)?;
    }
    let num = s.modifiers.find(|modifier| match modifier {
        "x1" => Some(1),
        "x2" => Some(2),
        "x4" => Some(4),
        _ => None,
    });
    let shared = s.modifiers.take("shared") || s.modifiers.take("shared::cta");
    let space = if shared { Space::Shared } else { Space::Generic };
    Ok((num.ok_or("no number of matrices")?, s.modifiers.take("trans"), space))
}

fn moved(num: usize, op: MoveMatrices) -> Result<Box<MoveMatrices>, String> {
    match op.registers.len() {
        len if len == num => Ok(Box::new(op)),
        len => Err(format!("{len} registers for {num} matrices")),
    }
}
