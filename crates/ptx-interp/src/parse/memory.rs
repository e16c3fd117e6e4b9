//! Loads, stores, atomics, fences and hints about memory.

use super::Table;
use super::arithmetic::unsupported;
use super::body::Body;
use super::moves::space;
use super::operands::Decoded;
use super::statement::{Modifiers, Operand, Statement, Type};
use crate::exec::atomic::{Atomic, Update};
use crate::exec::memory_access::{Access, Base, Element, Load, Store};
use crate::exec::space::Space;
use crate::instruction::{Constant, Op};
use crate::lanes::{Kind, Register};

pub(super) const TABLE: &Table = &[
    ("ld", ld),
    ("ldu", ld),
    ("st", st),
    ("atom", atom),
    ("red", red),
    ("membar", fence),
    ("fence", fence),
    ("prefetch", prefetch),
    ("prefetchu", prefetch),
    ("createpolicy", create_policy),
];

/// Hints about caches, which have no meaning here.
const HINTS: &[&str] = &[
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "nc",
    "unified",
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
    "L2::evict_normal",
    "L2::evict_first",
    "L2::evict_last",
    "L2::64B",
    "L2::128B",
    "L2::256B",
];

const SCOPES: &[&str] = &["cta", "cluster", "gpu", "gl", "sys"];

/// How an access is ordered with others.
#[derive(Debug, Clone, Copy, Default)]
struct Ordering {
    /// Whether the access is one that other threads may take part in at all.
    strong: bool,
    fence_before: bool,
    fence_after: bool,
}

impl Ordering {
    /// Takes the modifiers that say so.
    fn take(modifiers: &mut Modifiers<'_>) -> Self {
        modifiers.drop(SCOPES);
        let found = modifiers.find(|modifier| {
            let (fence_before, fence_after) = match modifier {
                "volatile" | "relaxed" => (false, false),
                "acquire" => (false, true),
                "release" => (true, false),
                "acq_rel" | "sc" => (true, true),
                "weak" => return Some(Self::default()),
                _ => return None,
            };
            Some(Self { strong: true, fence_before, fence_after })
        });
        found.unwrap_or_default()
    }

    /// `op` between the fences that the ordering asks for.
    fn fenced(self, body: &mut Body<'_, '_>, op: Op) -> Decoded {
        if self.fence_before {
            body.emit(Op::Fence);
        }
        if !self.fence_after {
            return Ok(op);
        }
        body.emit(op);
        Ok(Op::Fence)
    }
}

/// Takes hints, and the operand that one of them has.
fn hints(s: &mut Statement<'_>) -> Result<(), String> {
    s.modifiers.drop(HINTS);
    if s.modifiers.take("L2::cache_hint") {
        s.operands.pop().ok_or("no cache policy")?;
    }
    Ok(())
}

/// The number of elements that an access has.
fn vector(modifiers: &mut Modifiers<'_>) -> u32 {
    let len = modifiers.find(|modifier| match modifier {
        "v2" => Some(2),
        "v4" => Some(4),
        _ => None,
    });
    len.unwrap_or(1)
}

/// What an operand `[base+offset]` points to.
pub(super) fn address<'a>(
    body: &mut Body<'a, '_>,
    operand: &Operand<'a>,
    space: Space,
) -> Result<(Base, i64), String> {
    let Operand::Address(name, offset) = *operand else {
        return Err(format!("{operand:?} is no address"));
    };
    let Some(name) = name else { return Ok((Base::None, offset)) };
    if let Some(register) = body.register(name) {
        let base = match register.kind {
            Kind::Double => register.slot().map(Base::Double),
            Kind::Word if register.bits == 32 => register.slot().map(Base::Word),
            _ => None,
        };
        return match base {
            Some(base) => Ok((base, offset)),
            None => Err(format!("{name} cannot hold an address")),
        };
    }
    let constant = body.symbol(name, offset)?.ok_or_else(|| format!("unknown name {name}"))?;
    match constant {
        Constant::Global(..) => {
            let base = body.constant(64, constant).slot().map(Base::Double);
            Ok((base.unwrap_or(Base::None), 0))
        }
        _ if space == Space::Generic => {
            Err(format!("{name} needs its state space, or cvta and a register"))
        }
        Constant::Value(at) => Ok((Base::None, at as i64)),
        Constant::DynamicShared(_) => {
            let base = body.constant(32, constant).slot().map(Base::Word);
            Ok((base.unwrap_or(Base::None), 0))
        }
    }
}

/// The elements of a vector that is loaded or stored.
struct Shape {
    space: Space,
    element: Element,
    bits: u32,
    len: u32,
}

impl Shape {
    /// Takes state space, type and length of the vector.
    fn take(s: &mut Statement<'_>) -> Result<Self, String> {
        let space = s.modifiers.find(space).unwrap_or(Space::Generic);
        let ty = s.ty(|ty| ty.bits() >= 8)?;
        let len = vector(&mut s.modifiers);
        let element = Element { bytes: ty.bytes(), signed: ty.is_signed() };
        if element.bytes * len > 16 {
            return Err(format!("{} bytes at once, the most are 16", element.bytes * len));
        }
        Ok(Self { space, element, bits: ty.bits(), len })
    }

    fn access<'a>(
        &self,
        body: &mut Body<'a, '_>,
        operand: &Operand<'a>,
        strong: bool,
    ) -> Result<Access, String> {
        let (base, offset) = address(body, operand, self.space)?;
        let len = self.element.bytes * self.len;
        Ok(Access { space: self.space, base, offset, len, strong })
    }

    /// Fails unless the registers of a vector fit it.
    fn check(&self, registers: &[Register]) -> Result<(), String> {
        if registers.len() != self.len as usize {
            return Err(format!("{} registers for {} elements", registers.len(), self.len));
        }
        match registers.iter().find(|register| register.bits < self.bits) {
            Some(register) => {
                Err(format!("a register of {} bits for {}", register.bits, self.bits))
            }
            None => Ok(()),
        }
    }
}

fn ld<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    hints(s)?;
    let ordering = Ordering::take(&mut s.modifiers);
    let shape = Shape::take(s)?;
    let [d, a] = s.operands()?;
    let access = shape.access(body, a, ordering.strong)?;
    let elements = Body::elements(d).iter();
    let dst: Vec<Register> =
        elements.map(|d| body.written(d, shape.bits)).collect::<Result<_, _>>()?;
    shape.check(&dst)?;
    let op = Op::Load(Box::new(Load { access, element: shape.element, dst }));
    ordering.fenced(body, op)
}

fn st<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    hints(s)?;
    let ordering = Ordering::take(&mut s.modifiers);
    let shape = Shape::take(s)?;
    let [a, b] = s.operands()?;
    let access = shape.access(body, a, ordering.strong)?;
    let elements = Body::elements(b).iter();
    let src: Vec<Register> =
        elements.map(|b| body.operand(b, shape.bits)).collect::<Result<_, _>>()?;
    shape.check(&src)?;
    let op = Op::Store(Box::new(Store { access, element: shape.element, src }));
    ordering.fenced(body, op)
}

fn atom<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    atomic(body, s, true)
}

fn red<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    atomic(body, s, false)
}

fn atomic<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, has_result: bool) -> Decoded {
    hints(s)?;
    let ordering = Ordering::take(&mut s.modifiers);
    let space = s.modifiers.find(space).unwrap_or(Space::Generic);
    let ty = s.ty(|ty| matches!(ty.bits(), 32 | 64))?;
    let update = s.modifiers.find(|operation| update(operation, ty));
    let update = update.ok_or("no known operation for this type")?;
    let (d, operands) = match s.operands.as_slice() {
        [d, operands @ ..] if has_result => (Some(d), operands),
        operands => (None, operands),
    };
    let (a, b, c) = match operands {
        [a, b] => (a, b, None),
        [a, b, c] => (a, b, Some(c)),
        _ => return Err(format!("{} operands do not fit", s.operands.len())),
    };
    let (base, offset) = address(body, a, space)?;
    let access = Access { space, base, offset, len: ty.bytes(), strong: true };
    let dst = d.map(|d| body.written(d, ty.bits())).transpose()?;
    let a = body.operand(b, ty.bits())?;
    let b = c.map(|c| body.operand(c, ty.bits())).transpose()?;
    if [dst, Some(a), b].iter().flatten().any(|register| register.bits != ty.bits()) {
        return Err(format!("a register of other than {} bits", ty.bits()));
    }
    ordering.fenced(body, Op::Atomic(Box::new(Atomic { access, update, dst, a, b })))
}

/// What an atomic operation computes.
fn update(operation: &str, ty: Type) -> Option<Update> {
    Some(match (operation, ty) {
        ("exch", _) => |_, a, _| a,
        ("cas", _) => |old, a, b| if old == a { b } else { old },
        ("and", _) => |old, a, _| old & a,
        ("or", _) => |old, a, _| old | a,
        ("xor", _) => |old, a, _| old ^ a,
        ("add", Type::F32) => {
            |old, a, _| (f32::from_bits(old as u32) + f32::from_bits(a as u32)).to_bits().into()
        }
        ("add", Type::F64) => |old, a, _| (f64::from_bits(old) + f64::from_bits(a)).to_bits(),
        ("add", Type::U32 | Type::S32 | Type::U64 | Type::S64) => |old, a, _| old.wrapping_add(a),
        ("min", Type::U32 | Type::U64) => |old, a, _| old.min(a),
        ("max", Type::U32 | Type::U64) => |old, a, _| old.max(a),
        ("min", Type::S32) => |old, a, _| (old as i32).min(a as i32) as u32 as u64,
        ("max", Type::S32) => |old, a, _| (old as i32).max(a as i32) as u32 as u64,
        ("min", Type::S64) => |old, a, _| (old as i64).min(a as i64) as u64,
        ("max", Type::S64) => |old, a, _| (old as i64).max(a as i64) as u64,
        ("inc", Type::U32) => |old, a, _| if old >= a { 0 } else { old + 1 },
        ("dec", Type::U32) => |old, a, _| if old == 0 || old > a { a } else { old - 1 },
        _ => return None,
    })
}

fn fence<'a>(_: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    if let Some(op) = super::cluster::special_fence(s) {
        return Ok(op);
    }
    s.modifiers.drop(&["sc", "acq_rel", "acquire", "release"]);
    s.modifiers.drop(SCOPES);
    Ok(Op::Fence)
}

fn prefetch<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.drop(&["L1", "L2", "L2::evict_last", "L2::evict_normal"]);
    let space = s.modifiers.find(space).unwrap_or(Space::Generic);
    let [a] = s.operands()?;
    address(body, a, space)?;
    Ok(Op::Nop)
}

/// A policy for caches: a number that only hints take.
fn create_policy<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    if !s.modifiers.take("fractional") {
        return Err("only .fractional is supported".to_owned());
    }
    s.modifiers.drop(HINTS);
    match s.modifiers.ty()? {
        Type::B64 => {}
        ty => return unsupported(ty),
    }
    s.operands.truncate(1);
    s.operands.push(Operand::Integer(0));
    super::lane_ops::unary(body, s, |a: u64| a)
}
