//! From a statement and a closure to an instruction that computes lane by lane.

use super::body::Body;
use super::operands::Decoded;
use super::statement::Statement;
use crate::instruction::Op;
use crate::lane_op::{Map1, Map2, Map3, Map4, PredicateOp};
use crate::lanes::Scalar;

/// A decoded instruction from what it does.
pub(super) fn lanes(op: impl crate::lane_op::LaneOp + 'static) -> Decoded {
    Ok(Op::Lanes(Box::new(op)))
}

/// `opcode d, a`
pub(super) fn unary<'a, D: Scalar, A: Scalar>(
    body: &mut Body<'a, '_>,
    statement: &Statement<'a>,
    f: impl Fn(A) -> D + Send + Sync + 'static,
) -> Decoded {
    let [d, a] = statement.operands()?;
    let (dst, a) = (body.destination::<D>(d)?, body.source::<A>(a)?);
    lanes(Map1::<_, D, A> { f, dst, a })
}

/// `opcode d, a, b`
pub(super) fn binary<'a, D: Scalar, A: Scalar, B: Scalar>(
    body: &mut Body<'a, '_>,
    statement: &Statement<'a>,
    f: impl Fn(A, B) -> D + Send + Sync + 'static,
) -> Decoded {
    let [d, a, b] = statement.operands()?;
    let (dst, a, b) = (body.destination::<D>(d)?, body.source::<A>(a)?, body.source::<B>(b)?);
    lanes(Map2::<_, D, A, B> { f, dst, a, b })
}

/// `opcode d, a, b, c`
pub(super) fn ternary<'a, D: Scalar, A: Scalar, B: Scalar, C: Scalar>(
    body: &mut Body<'a, '_>,
    statement: &Statement<'a>,
    f: impl Fn(A, B, C) -> D + Send + Sync + 'static,
) -> Decoded {
    let [d, a, b, c] = statement.operands()?;
    let (dst, a) = (body.destination::<D>(d)?, body.source::<A>(a)?);
    let (b, c) = (body.source::<B>(b)?, body.source::<C>(c)?);
    lanes(Map3::<_, D, A, B, C> { f, dst, a, b, c })
}

/// `opcode d, a, b, c, e`
pub(super) fn quaternary<'a, D: Scalar, A: Scalar, B: Scalar, C: Scalar, E: Scalar>(
    body: &mut Body<'a, '_>,
    statement: &Statement<'a>,
    f: impl Fn(A, B, C, E) -> D + Send + Sync + 'static,
) -> Decoded {
    let [d, a, b, c, e] = statement.operands()?;
    let (dst, a, b) = (body.destination::<D>(d)?, body.source::<A>(a)?, body.source::<B>(b)?);
    let (c, e) = (body.source::<C>(c)?, body.source::<E>(e)?);
    lanes(Map4::<_, D, A, B, C, E> { f, dst, a, b, c, e })
}

/// `opcode d, a` or `opcode d, a, b` on predicates; `f` computes all lanes at once.
pub(super) fn predicates<'a>(
    body: &mut Body<'a, '_>,
    statement: &Statement<'a>,
    f: fn(u32, u32) -> u32,
) -> Decoded {
    let (d, a, b) = match statement.operands.as_slice() {
        [d, a] => (d, a, a),
        [d, a, b] => (d, a, b),
        _ => return Err("expected one or two predicates and a result".to_owned()),
    };
    let dst = body.destination::<bool>(d)?;
    let operands = [body.predicate(a)?, body.predicate(b)?];
    lanes(PredicateOp { f, dst, operands })
}
