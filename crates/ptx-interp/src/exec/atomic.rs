//! `atom` and `red`.

use std::sync::atomic::Ordering;

use super::Executor;
use super::global::find;
use super::memory_access::Access;
use super::space::Space;
use crate::lanes::{Kind, Register, Slot};
use crate::{Fault, FaultKind};

/// What an atomic computes from the old value and its operands; all in the low bits.
pub(crate) type Update = fn(old: u64, a: u64, b: u64) -> u64;

/// `atom`, and `red`, which has no result.
#[derive(Debug)]
pub(crate) struct Atomic {
    /// Four or eight bytes.
    pub(crate) access: Access,
    pub(crate) update: Update,
    pub(crate) dst: Option<Register>,
    pub(crate) a: Register,
    /// The new value of `cas`.
    pub(crate) b: Option<Register>,
}

impl Executor<'_, '_> {
    /// `atom`, `red`
    #[inline(never)]
    pub(super) fn atomic(&mut self, op: &Atomic, active: u32) -> Result<(), Fault> {
        let mut addresses = [0; 32];
        self.addresses(&op.access, active, &mut addresses)?;
        let a = self.any_register(op.a, active)?;
        let b = op.b.map_or(Ok([0; 32]), |b| self.any_register(b, active))?;
        let mut old = [0; 32];
        let env = self.env;
        for lane in env.order.lanes {
            let lane = usize::from(lane);
            if active >> lane & 1 == 1 {
                let update = |old| (op.update)(old, a[lane], b[lane]);
                old[lane] = self
                    .update(&op.access, addresses[lane], lane, update)
                    .map_err(|fault| fault.in_lane(lane as u32))?;
            }
        }
        match op.dst {
            None => {}
            Some(dst) if dst.kind == Kind::Double => {
                self.write(Slot::<u64>::new(dst.index), active, &old, !0);
            }
            Some(dst) => {
                let old = old.map(|old| old as u32);
                self.write(Slot::<u32>::new(dst.index), active, &old, !0);
            }
        }
        Ok(())
    }

    /// A register of either width, which must be defined.
    fn any_register(&self, register: Register, active: u32) -> Result<[u64; 32], Fault> {
        let what = "the operand of an atomic";
        if register.kind == Kind::Double {
            return self.read_defined(Slot::<u64>::new(register.index), active, what).copied();
        }
        let words = self.read_defined(Slot::<u32>::new(register.index), active, what)?;
        Ok(words.map(u64::from))
    }

    /// Replaces the value at an address by what `update` makes of it; returns the old one.
    fn update(
        &mut self,
        access: &Access,
        address: u64,
        lane: usize,
        update: impl Fn(u64) -> u64,
    ) -> Result<u64, Fault> {
        let (space, address) = match access.space {
            Space::Generic => Space::of(address),
            space => (space, address),
        };
        match space {
            Space::Global => self.update_global(address, access.len, update),
            Space::Shared => self.update_shared(address, access.len, lane, update),
            _ => {
                let message = format!("an atomic in the space {space:?}");
                Err(Fault::new(FaultKind::InvalidUse, message))
            }
        }
    }

    fn update_global(
        &mut self,
        address: u64,
        len: u32,
        update: impl Fn(u64) -> u64,
    ) -> Result<u64, Fault> {
        let env = self.env;
        let allocation = find(&env.table, &mut self.warp.hit, address, len)?;
        let word = (address - allocation.base) as usize / 4;
        if len == 4 {
            let word = &allocation.words[word];
            let mut old = word.load(Ordering::Relaxed);
            loop {
                let new = update(u64::from(old)) as u32;
                match word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(old) => return Ok(u64::from(old)),
                    Err(now) => old = now,
                }
            }
        }
        let _lock = env.memory.lock(address);
        let (low, high) = (&allocation.words[word], &allocation.words[word + 1]);
        let load = |word: &std::sync::atomic::AtomicU32| u64::from(word.load(Ordering::Relaxed));
        let old = load(low) | load(high) << 32;
        let new = update(old);
        low.store(new as u32, Ordering::Relaxed);
        high.store((new >> 32) as u32, Ordering::Relaxed);
        Ok(old)
    }

    fn update_shared(
        &mut self,
        address: u64,
        len: u32,
        lane: usize,
        update: impl Fn(u64) -> u64,
    ) -> Result<u64, Fault> {
        let (shared, offset, who) = self.shared_memory(lane, address, true)?;
        let mut words = [0; 4];
        if !shared.load(&who, offset, len, &mut words)? {
            let message =
                format!("shared bytes {offset}..+{len} hold nothing an atomic can add to");
            return Err(Fault::new(FaultKind::Uninitialized, message));
        }
        let old = u64::from(words[0]) | u64::from(words[1]) << 32;
        let new = update(old);
        let data = [new as u32, (new >> 32) as u32, 0, 0];
        shared.store(&who, offset, len, &data, !0)?;
        Ok(old)
    }
}
