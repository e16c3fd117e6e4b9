//! Operands to registers: immediate values become registers that hold them.

use super::body::Body;
use super::statement::{Operand, Statement, Type};
use crate::exec::special::{ReadSpecial, Special};
use crate::instruction::{Constant, Op};
use crate::lanes::{Kind, Lane, Register, Scalar, Slot};

/// What an instruction decodes to, or what is wrong with it.
pub(super) type Decoded = Result<Op, String>;

impl<'a> Body<'a, '_> {
    /// The register that holds a constant.
    pub(super) fn constant(&mut self, bits: u32, constant: Constant) -> Register {
        let kind = match bits {
            1 => Kind::Predicate,
            64 => Kind::Double,
            _ => Kind::Word,
        };
        if let Some(register) = self.constants.get(&(kind, constant)) {
            return Register { bits, ..*register };
        }
        let register = self.new_register(bits);
        self.constants.insert((kind, constant), register);
        register
    }

    /// The register that holds an operand read as `S`.
    pub(super) fn source<S: Scalar>(
        &mut self,
        operand: &Operand<'a>,
    ) -> Result<Slot<S::Lane>, String> {
        let register = self.operand(operand, S::BITS)?;
        slot(operand, register, S::BITS)
    }

    /// The register that an instruction writes as `S`.
    pub(super) fn destination<S: Scalar>(
        &mut self,
        operand: &Operand<'a>,
    ) -> Result<Slot<S::Lane>, String> {
        let register = self.written(operand, S::BITS)?;
        slot(operand, register, S::BITS)
    }

    /// A register to write, of whatever width; `_` is one that nobody reads, of `bits` bits.
    pub(super) fn written(&mut self, operand: &Operand<'a>, bits: u32) -> Result<Register, String> {
        match operand {
            Operand::Name("_", 0) => Ok(self.new_register(bits)),
            Operand::Name(name, 0) => {
                self.register_to_write(name).ok_or_else(|| format!("{name} is no register"))
            }
            _ => Err(format!("{operand:?} cannot be written; expected a register")),
        }
    }

    /// The register that holds an operand, of whatever width; values that are no registers have
    /// `bits` bits.
    pub(super) fn operand(&mut self, operand: &Operand<'a>, bits: u32) -> Result<Register, String> {
        let mask = if bits == 1 { 1 } else { !0 >> (64 - bits) };
        match *operand {
            Operand::Name(name, offset) => self.named(name, offset, bits),
            Operand::Integer(value) => Ok(self.constant(bits, Constant::Value(value & mask))),
            Operand::Float(value) if bits == 32 => {
                Ok(self.constant(bits, Constant::Value(u64::from(value))))
            }
            Operand::Double(value) if bits == 64 => Ok(self.constant(bits, Constant::Value(value))),
            _ => Err(format!("{operand:?} is no operand of {bits} bits")),
        }
    }

    fn named(&mut self, name: &'a str, offset: i64, bits: u32) -> Result<Register, String> {
        if let Some(register) = self.register(name) {
            return if offset == 0 {
                Ok(register)
            } else {
                Err(format!("{name}+{offset} is an address, expected a register"))
            };
        }
        if let Some(constant) = self.symbol(name, offset)? {
            return Ok(self.constant(bits, constant));
        }
        if name == "WARP_SZ" {
            return Ok(self.constant(bits, Constant::Value(32)));
        }
        let source = Special::parse(name).ok_or_else(|| format!("unknown name {name}"))?;
        let dst = self.new_register(bits);
        self.emit(Op::Special(ReadSpecial { dst, source }));
        Ok(dst)
    }

    /// The address of a variable in its state space, plus `offset`.
    pub(super) fn symbol(
        &mut self,
        name: &'a str,
        offset: i64,
    ) -> Result<Option<Constant>, String> {
        let module = self.module;
        let fixed = if let Some(at) = self.params.get(name) {
            Some(*at)
        } else if let Some(at) = self.shared.offset(name).or_else(|| self.local.offset(name)) {
            Some(at)
        } else if let Some(variable) = module.shared.get(name) {
            Some(self.shared.add(variable)?)
        } else {
            None
        };
        Ok(match fixed {
            Some(at) => Some(Constant::Value((i64::from(at) + offset) as u64)),
            None if module.dynamic.contains(&name) => Some(Constant::DynamicShared(offset)),
            None => module.globals.get(name).map(|&index| Constant::Global(index, offset)),
        })
    }

    /// A predicate; a negated one is computed first.
    pub(super) fn predicate(&mut self, operand: &Operand<'a>) -> Result<Slot<bool>, String> {
        let Operand::Not(name) = *operand else { return self.source::<bool>(operand) };
        let a = self.source::<bool>(&Operand::Name(name, 0))?;
        let dst = Slot::new(self.new_register(1).index);
        self.lanes(crate::lane_op::PredicateOp { f: |a, _| !a, dst, operands: [a, a] });
        Ok(dst)
    }

    /// Emits arithmetic.
    pub(super) fn lanes(&mut self, op: impl crate::lane_op::LaneOp + 'static) {
        self.emit(Op::Lanes(Box::new(op)));
    }

    /// The elements of a vector operand; a single operand is a vector of one.
    pub(super) fn elements<'o>(operand: &'o Operand<'a>) -> &'o [Operand<'a>] {
        match operand {
            Operand::Vector(elements) => elements,
            single => std::slice::from_ref(single),
        }
    }
}

/// The register as one of kind `T`, which must be `bits` wide.
fn slot<T: Lane>(operand: &Operand<'_>, register: Register, bits: u32) -> Result<Slot<T>, String> {
    match register.slot() {
        Some(slot) if register.bits == bits => Ok(slot),
        _ => Err(format!("{operand:?} has {} bits, expected {bits}", register.bits)),
    }
}

impl Statement<'_> {
    /// The type of the instruction; `allowed` says which ones it takes.
    pub(super) fn ty(&mut self, allowed: impl Fn(Type) -> bool) -> Result<Type, String> {
        let ty = self.modifiers.ty()?;
        if allowed(ty) { Ok(ty) } else { Err(format!("the type {ty:?} is not supported")) }
    }
}
