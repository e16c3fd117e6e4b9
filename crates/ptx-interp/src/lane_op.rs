//! Instructions that compute each lane on its own: a closure and its registers.
//!
//! The decoder makes one from a closure over Rust types, e.g. `|a: f32, b: f32| a + b`. Each
//! closure is compiled into its own loop over the lanes, which the compiler vectorises.

use crate::lanes::{Lane, Registers, Scalar, Slot};

/// An instruction that reads and writes registers only.
pub(crate) trait LaneOp: Send + Sync {
    /// Runs the lanes of `active`.
    fn run(&self, registers: &mut Registers, active: u32);
}

/// Types of the operands of a closure, and the registers that hold them.
macro_rules! lane_op {
    ($name:ident, $($type:ident $field:ident),*) => {
        /// A closure of that many operands.
        pub(crate) struct $name<F, D: Scalar, $($type: Scalar),*> {
            /// Computes one lane.
            pub(crate) f: F,
            /// The result.
            pub(crate) dst: Slot<D::Lane>,
            $(/// An operand.
            pub(crate) $field: Slot<$type::Lane>,)*
        }

        impl<F, D, $($type),*> LaneOp for $name<F, D, $($type),*>
        where
            F: Fn($($type),*) -> D + Send + Sync,
            D: Scalar,
            $($type: Scalar,)*
        {
            fn run(&self, registers: &mut Registers, active: u32) {
                $(let $field = registers.get(self.$field);)*
                let value = D::Lane::collect(|lane| {
                    $(let $field = $type::from_lane($type::Lane::get($field, lane));)*
                    (self.f)($($field),*).to_lane()
                });
                let defined = !0 $(& registers.defined(self.$field))*;
                registers.set(self.dst, active, &value, defined);
            }
        }
    };
}

lane_op!(Map1, A a);
lane_op!(Map2, A a, B b);
lane_op!(Map3, A a, B b, C c);
lane_op!(Map4, A a, B b, C c, E e);

/// Logic on predicates, all lanes at once.
pub(crate) struct PredicateOp {
    /// Computes all lanes.
    pub(crate) f: fn(u32, u32) -> u32,
    /// The result.
    pub(crate) dst: Slot<bool>,
    /// The operands.
    pub(crate) operands: [Slot<bool>; 2],
}

impl LaneOp for PredicateOp {
    fn run(&self, registers: &mut Registers, active: u32) {
        let [a, b] = self.operands;
        let value = (self.f)(*registers.get(a), *registers.get(b));
        let defined = registers.defined(a) & registers.defined(b);
        registers.set(self.dst, active, &value, defined);
    }
}

/// `selp`: only the operand that is selected must be defined.
pub(crate) struct Select<T: Lane> {
    /// The result.
    pub(crate) dst: Slot<T>,
    /// The result where the predicate holds.
    pub(crate) a: Slot<T>,
    /// The result where it does not.
    pub(crate) b: Slot<T>,
    /// The predicate.
    pub(crate) predicate: Slot<bool>,
}

impl<T: Lane> LaneOp for Select<T> {
    fn run(&self, registers: &mut Registers, active: u32) {
        let holds = *registers.get(self.predicate);
        let mut value = *registers.get(self.b);
        T::blend(&mut value, holds, registers.get(self.a));
        let (a, b) = (registers.defined(self.a), registers.defined(self.b));
        let defined = ((a & holds) | (b & !holds)) & registers.defined(self.predicate);
        registers.set(self.dst, active, &value, defined);
    }
}
