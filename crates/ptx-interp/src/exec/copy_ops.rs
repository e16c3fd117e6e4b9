//! `cp.async` and `cp.async.bulk`.

use super::asynchronous::{Air, Asynchronous};
use super::memory_access::{Access, locate};
use super::shared::Writer;
use super::space::Space;
use super::{Executor, lanes_of};
use crate::bulk::{Copy, Flight, Place, Signal};
use crate::lanes::Slot;
use crate::{Fault, FaultKind};

/// A copy as the instruction describes it.
#[derive(Debug)]
pub(crate) struct StartCopy {
    pub(crate) destination: Access,
    pub(crate) source: Access,
    pub(crate) bytes: Slot<u32>,
    /// Bytes to read, if fewer.
    pub(crate) source_bytes: Option<Slot<u32>>,
    /// A predicate under which nothing is read.
    pub(crate) ignore_source: Option<Slot<bool>>,
    /// The blocks of the cluster that get the bytes, one bit each; else the one of the destination.
    pub(crate) ranks: Option<Slot<u32>>,
    pub(crate) kind: CopyKind,
}

/// How the completion of a copy is awaited.
#[derive(Debug)]
pub(crate) enum CopyKind {
    /// `cp.async`: groups, in the ordinary proxy.
    Async,
    /// `cp.async.bulk` with `.bulk_group`.
    BulkGroup,
    /// `cp.async.bulk` with `.mbarrier::complete_tx::bytes`.
    BulkMbarrier(Access),
}

/// `cp.async.wait_group`, `cp.async.bulk.wait_group` and their variants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitGroups {
    pub(crate) bulk: bool,
    /// Groups that may stay in flight; `None` for `wait_all`.
    pub(crate) pending: Option<u32>,
    /// `.read`: until the sources have been read.
    pub(crate) read: bool,
}

/// `cp.async.mbarrier.arrive`
#[derive(Debug)]
pub(crate) struct ArriveOnLanding {
    pub(crate) access: Access,
    /// `.noinc`: the arrival is one of those that `init` counted.
    pub(crate) counted: bool,
}

impl CopyKind {
    /// Whether it goes through the asynchronous proxy.
    pub(crate) fn is_bulk(&self) -> bool {
        !matches!(self, Self::Async)
    }
}

impl<'e> Executor<'_, 'e> {
    /// `cp.async`, `cp.async.bulk`
    pub(super) fn start_copy(&mut self, op: &StartCopy, active: u32) -> Result<(), Fault> {
        let sources = self.all_addresses(&op.source, active)?;
        let destinations = self.all_addresses(&op.destination, active)?;
        let mbarriers = match &op.kind {
            CopyKind::BulkMbarrier(access) => Some(self.places(access, active)?),
            _ => None,
        };
        for lane in lanes_of(active) {
            let mbarrier = mbarriers.map(|places| places[lane]);
            let started = self
                .copy_of_lane(op, sources[lane], destinations[lane], lane)
                .and_then(|copy| self.start_all(op, copy, mbarrier, lane));
            started.map_err(|fault| fault.in_lane(lane as u32))?;
        }
        Ok(())
    }

    /// Starts a copy to every block that gets it, where it lands in the same place.
    fn start_all(
        &mut self,
        op: &StartCopy,
        copy: Copy,
        mbarrier: Option<(u32, u32)>,
        lane: usize,
    ) -> Result<(), Fault> {
        let (Some(ranks), Place::Shared { offset, .. }) = (op.ranks, copy.destination) else {
            return self.start_one(copy, op.kind.is_bulk(), mbarrier, lane);
        };
        let ranks = self.read_defined(ranks, 1 << lane, "a copy")?[lane];
        for rank in lanes_of(ranks).map(|rank| rank as u32) {
            self.check_reachable(rank)?;
            let copy = Copy { destination: Place::Shared { rank, offset }, ..copy };
            let mbarrier = mbarrier.map(|(_, offset)| (rank, offset));
            self.start_one(copy, op.kind.is_bulk(), mbarrier, lane)?;
        }
        Ok(())
    }

    fn copy_of_lane(
        &self,
        op: &StartCopy,
        source: u64,
        destination: u64,
        lane: usize,
    ) -> Result<Copy, Fault> {
        let bytes = self.read_defined(op.bytes, 1 << lane, "a copy")?[lane];
        Ok(Copy {
            source: self.copy_place(op.source.space, source)?,
            destination: self.copy_place(op.destination.space, destination)?,
            bytes,
            source_bytes: self.source_bytes(op, bytes, lane)?,
            line: self.env.code.instructions[self.pc as usize].line,
            landed: false,
        })
    }

    fn copy_place(&self, space: Space, address: u64) -> Result<Place, Fault> {
        match locate(space, address) {
            (Space::Global | Space::Generic, address) => Ok(Place::Global(address)),
            (Space::Shared, address) => {
                let (rank, offset) = super::space::shared_at(address as u32, self.block.rank);
                self.check_reachable(rank)?;
                Ok(Place::Shared { rank, offset })
            }
            _ => {
                let message = format!("{address:#x} is neither in global nor in shared memory");
                Err(Fault::new(FaultKind::InvalidUse, message))
            }
        }
    }

    fn source_bytes(&self, op: &StartCopy, bytes: u32, lane: usize) -> Result<u32, Fault> {
        let mut read = bytes;
        if let Some(slot) = op.source_bytes {
            read = self.read_defined(slot, 1 << lane, "a copy")?[lane];
        }
        if let Some(slot) = op.ignore_source
            && self.read_defined(slot, 1 << lane, "a copy")? >> lane & 1 == 1
        {
            read = 0;
        }
        if read > bytes {
            let message = format!("a copy of {bytes} bytes that reads {read}");
            return Err(Fault::new(FaultKind::InvalidUse, message));
        }
        Ok(read)
    }

    /// Checks the ranges of a copy and what it may disturb, and marks them.
    fn check_copy(&mut self, copy: &Copy, bulk: bool, lane: usize) -> Result<(), Fault> {
        let align = if bulk { 16 } else { copy.bytes };
        if bulk && !copy.bytes.is_multiple_of(16) {
            let message = format!("a bulk copy of {} bytes, expected a multiple of 16", copy.bytes);
            return Err(Fault::new(FaultKind::InvalidUse, message));
        }
        for (place, bytes) in [(copy.source, copy.source_bytes), (copy.destination, copy.bytes)] {
            match place {
                Place::Global(address) => self.check_global(address, bytes, align)?,
                Place::Shared { rank, offset } => {
                    self.shared[rank as usize].check_range(offset, bytes, align)?;
                }
            }
        }
        if let Place::Shared { rank, offset } = copy.source {
            let (shared, who) = self.shared_block(rank, lane, false);
            shared.start_read(&who, offset, copy.source_bytes)?;
        }
        if let Place::Shared { rank, offset } = copy.destination {
            if bulk {
                self.warp.unused_loads.refill(rank, offset, copy.bytes, copy.line);
            }
            let (shared, who) = self.shared_block(rank, lane, false);
            shared.start_write(&who, offset, copy.bytes, bulk)?;
        }
        Ok(())
    }

    fn check_global(&self, address: u64, bytes: u32, align: u32) -> Result<(), Fault> {
        if !address.is_multiple_of(u64::from(align)) {
            return Err(super::shared::misaligned(address, align, "global"));
        }
        if bytes == 0 {
            // Nothing is read: the address may be anything.
            return Ok(());
        }
        let checked = self.env.table.check(address, u64::from(bytes));
        checked.map_err(|error| Fault::new(FaultKind::OutOfBounds, error.to_string()))
    }

    /// Checks a copy and starts it; without an mbarrier the thread waits for it in groups.
    fn start_one(
        &mut self,
        mut copy: Copy,
        bulk: bool,
        mbarrier: Option<(u32, u32)>,
        lane: usize,
    ) -> Result<(), Fault> {
        self.check_copy(&copy, bulk, lane)?;
        let thread = self.thread(lane);
        let early = self.cluster.asynchronous.lands_early();
        if let Some(mbarrier) = mbarrier {
            self.check_announced(mbarrier)?;
            let signal = Signal::CompleteBytes(copy.bytes);
            return self.launch(Flight { copies: vec![copy], mbarrier, signal, thread }, early);
        }
        // What a store out of shared memory reads must stay until the wait: late shows it.
        if early && !bulk {
            self.air().0.move_bytes(&mut copy)?;
        }
        self.cluster.asynchronous.groups(bulk, thread).issue(copy);
        Ok(())
    }

    /// Fails if the copy unit may not see the mbarrier initialised.
    fn check_announced(&mut self, place: (u32, u32)) -> Result<(), Fault> {
        let object = self.cluster.asynchronous.mbarrier(place)?;
        let (warp, stamp) = object.initialised;
        if object.is_announced || self.warp.clock.is_fenced(warp, stamp) {
            return Ok(());
        }
        let message = format!(
            "the mbarrier at shared byte {} was initialised with no fence.mbarrier_init or \
             fence.proxy.async before this copy",
            place.1
        );
        Err(Fault::new(FaultKind::MissingFence, message))
    }

    fn launch(&mut self, flight: Flight, early: bool) -> Result<(), Fault> {
        let (mut air, asynchronous) = self.air();
        if early {
            return asynchronous.land(flight, &mut air);
        }
        asynchronous.start(flight);
        Ok(())
    }

    /// Index of a lane's thread in the cluster.
    fn thread(&self, lane: usize) -> u32 {
        self.warp.clock.id() as u32 * 32 + lane as u32
    }

    fn air(&mut self) -> (Air<'_>, &mut Asynchronous) {
        let air = Air { env: self.env, shared: self.shared, tick: self.tick };
        (air, &mut self.cluster.asynchronous)
    }

    /// `commit_group`
    pub(super) fn commit_group(&mut self, bulk: bool, active: u32) {
        for lane in lanes_of(active) {
            let thread = self.thread(lane);
            self.cluster.asynchronous.groups(bulk, thread).commit();
        }
    }

    /// `wait_group`, `wait_all`
    pub(super) fn wait_groups(&mut self, op: WaitGroups, active: u32) -> Result<(), Fault> {
        for lane in lanes_of(active) {
            if op.bulk {
                self.wait_bulk(op, lane)?;
            } else {
                self.wait_async(op, lane)?;
            }
        }
        Ok(())
    }

    fn wait_async(&mut self, op: WaitGroups, lane: usize) -> Result<(), Fault> {
        let thread = self.thread(lane);
        let writer = Writer {
            warp: self.warp.clock.id(),
            stamp: self.warp.clock.stamp(),
            epoch: self.warp.epoch,
            lane: lane as u8,
        };
        let (mut air, asynchronous) = self.air();
        if op.pending.unwrap_or(0) == 0 {
            asynchronous.land_arrivals(thread, &mut air)?;
        }
        let groups = asynchronous.groups(false, thread);
        let copies = match op.pending {
            Some(pending) => groups.wait(pending as usize),
            None => groups.take_all(),
        };
        copies.iter().try_for_each(|copy| air.complete(copy, writer))
    }

    fn wait_bulk(&mut self, op: WaitGroups, lane: usize) -> Result<(), Fault> {
        let thread = self.thread(lane);
        let pending = op.pending.unwrap_or(0) as usize;
        let (mut air, asynchronous) = self.air();
        let groups = asynchronous.groups(true, thread);
        for copy in groups.due(pending) {
            air.move_bytes(copy)?;
            air.free_source(copy);
        }
        if !op.read {
            groups.wait(pending);
        }
        Ok(())
    }

    /// `cp.async.mbarrier.arrive`
    pub(super) fn arrive_on_landing(
        &mut self,
        op: &ArriveOnLanding,
        active: u32,
    ) -> Result<(), Fault> {
        let places = self.places(&op.access, active)?;
        for lane in lanes_of(active) {
            let thread = self.thread(lane);
            if !op.counted {
                self.cluster.asynchronous.change(places[lane], |state| state.expect_arrival())?;
            }
            let object = self.cluster.asynchronous.mbarrier(places[lane])?;
            self.warp.clock.release(&mut object.arriving);
            let groups = self.cluster.asynchronous.groups(false, thread);
            let flight = Flight {
                copies: groups.take_all(),
                mbarrier: places[lane],
                signal: Signal::Arrive,
                thread,
            };
            let early = self.cluster.asynchronous.lands_early();
            self.launch(flight, early)?;
        }
        *self.tick += 1;
        self.warp.clock.advance(*self.tick);
        Ok(())
    }
}
