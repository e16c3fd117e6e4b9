//! The asynchronous copies and the mbarriers of a cluster, and when copies land.

use std::collections::BTreeMap;

use super::env::Env;
use super::order::mix;
use super::shared::{Shared, Writer};
use crate::bulk::{Copy, Flight, Groups, Place, Signal};
use crate::mbarrier::{Mbarrier, MbarrierError};
use crate::{Fault, FaultKind};

/// An mbarrier object and what can be learned at it.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) state: Mbarrier,
    /// Who initialised it: index of the warp in the cluster, and its stamp.
    pub(crate) initialised: (usize, u32),
    /// Whether a fence made that visible to asynchronous copies.
    pub(crate) is_announced: bool,
    /// What those know that arrived in this phase, and in the phases before.
    pub(crate) arriving: Vec<u32>,
    pub(crate) known: Vec<u32>,
}

impl Object {
    pub(crate) fn new(state: Mbarrier, initialised: (usize, u32)) -> Self {
        let (arriving, known) = (Vec::new(), Vec::new());
        Self { state, initialised, is_announced: false, arriving, known }
    }

    /// A phase is complete: those that wait learn what was known.
    fn publish(&mut self) {
        self.known.resize(self.arriving.len().max(self.known.len()), 0);
        for (known, arriving) in self.known.iter_mut().zip(&self.arriving) {
            *known = (*known).max(*arriving);
        }
    }
}

/// A misuse of an mbarrier.
pub(crate) fn invalid(error: MbarrierError) -> Fault {
    Fault::new(FaultKind::InvalidUse, error.to_string())
}

/// What runs beside the warps of a cluster.
#[derive(Debug)]
pub(crate) struct Asynchronous {
    seed: u64,
    /// Random numbers drawn so far, the index of the cluster mixed in.
    draws: u64,
    /// Index, behind those of the warps, of whoever writes what an mbarrier announces.
    agent: usize,
    flights: Vec<Flight>,
    /// Copies of `cp.async` and of `cp.async.bulk` that each thread of the cluster waits for.
    groups: Vec<Groups>,
    bulk_groups: Vec<Groups>,
    /// By rank of the block and offset in its shared memory.
    pub(crate) mbarriers: BTreeMap<(u32, u32), Object>,
    /// Changes of mbarriers, and the phases that they completed: whoever waits for one looks again
    /// after each.
    changes: u64,
    pub(crate) phases: u64,
    /// Tests of mbarriers that failed.
    failed_tests: u64,
    /// The changes that had happened when waits last timed out.
    timed_out_changes: Option<u64>,
}

impl Asynchronous {
    pub(crate) fn new(env: &Env<'_>) -> Self {
        Self {
            seed: env.order.seed(),
            draws: 0,
            agent: (env.warps_per_block() * env.blocks_per_cluster()) as usize,
            flights: Vec::new(),
            groups: Vec::new(),
            bulk_groups: Vec::new(),
            mbarriers: BTreeMap::new(),
            changes: 0,
            phases: 0,
            failed_tests: 0,
            timed_out_changes: None,
        }
    }

    /// Starts over as cluster `index` of the grid.
    pub(crate) fn reset(&mut self, index: u64) {
        self.draws = mix(index);
        self.flights.clear();
        self.groups.clear();
        self.bulk_groups.clear();
        self.mbarriers.clear();
        (self.changes, self.phases, self.failed_tests) = (0, 0, 0);
        self.timed_out_changes = None;
    }

    /// One of `num` choices; the first in program order.
    pub(crate) fn choose(&mut self, num: usize) -> usize {
        if self.seed == 0 {
            return 0;
        }
        self.draws = self.draws.wrapping_add(1);
        (mix(self.seed ^ mix(self.draws)) % num as u64) as usize
    }

    /// The copies that a thread of the cluster waits for in groups.
    pub(crate) fn groups(&mut self, bulk: bool, thread: u32) -> &mut Groups {
        let groups = if bulk { &mut self.bulk_groups } else { &mut self.groups };
        let at = thread as usize;
        if at >= groups.len() {
            groups.resize_with(at + 1, Groups::default);
        }
        &mut groups[at]
    }

    /// Whether the next copy lands at its issue.
    pub(crate) fn lands_early(&mut self) -> bool {
        self.choose(2) == 1
    }

    /// The mbarrier that lies there.
    pub(crate) fn mbarrier(&mut self, (rank, offset): (u32, u32)) -> Result<&mut Object, Fault> {
        self.mbarriers.get_mut(&(rank, offset)).ok_or_else(|| {
            let message =
                format!("no mbarrier was initialised at shared byte {offset} of block {rank}");
            Fault::new(FaultKind::InvalidUse, message)
        })
    }

    /// Changes the state of an mbarrier.
    pub(crate) fn change<T>(
        &mut self,
        place: (u32, u32),
        f: impl FnOnce(&mut Mbarrier) -> Result<T, MbarrierError>,
    ) -> Result<T, Fault> {
        self.changes += 1;
        let object = self.mbarrier(place)?;
        let phase = object.state.phase();
        let result = f(&mut object.state).map_err(invalid)?;
        if object.state.phase() != phase {
            object.publish();
            self.phases += 1;
        }
        Ok(result)
    }

    /// Takes off; the flight lands later.
    pub(crate) fn start(&mut self, flight: Flight) {
        self.flights.push(flight);
    }

    /// A test of an mbarrier failed. A warp may do nothing but test: now and then a copy lands.
    pub(crate) fn test_failed(&mut self, air: &mut Air<'_>) -> Result<(), Fault> {
        self.failed_tests += 1;
        if self.failed_tests.is_multiple_of(8) {
            self.land_one(air)?;
        }
        Ok(())
    }

    /// Nobody can go on. Whether waits for mbarriers should time out, so that their threads can do
    /// something else; not if nothing came of that the last time.
    pub(crate) fn may_time_out(&mut self) -> bool {
        self.timed_out_changes.replace(self.changes) != Some(self.changes)
    }

    /// Lands one flight, the oldest in program order; whether there was any.
    pub(crate) fn land_one(&mut self, air: &mut Air<'_>) -> Result<bool, Fault> {
        if self.flights.is_empty() {
            return Ok(false);
        }
        let at = self.choose(self.flights.len());
        let flight = self.flights.remove(at);
        self.land(flight, air)?;
        Ok(true)
    }

    /// Lands the flights that a thread started with `cp.async.mbarrier.arrive`.
    pub(crate) fn land_arrivals(&mut self, thread: u32, air: &mut Air<'_>) -> Result<(), Fault> {
        let own = |flight: &Flight| flight.signal == Signal::Arrive && flight.thread == thread;
        while let Some(at) = self.flights.iter().position(own) {
            let flight = self.flights.remove(at);
            self.land(flight, air)?;
        }
        Ok(())
    }

    /// Moves the bytes of a flight and tells its mbarrier.
    pub(crate) fn land(&mut self, flight: Flight, air: &mut Air<'_>) -> Result<(), Fault> {
        *air.tick += 1;
        let stamp = *air.tick;
        let writer = Writer::asynchronous(self.agent, stamp);
        for copy in &flight.copies {
            air.complete(copy, writer)?;
        }
        let agent = self.agent;
        let object = self.mbarrier(flight.mbarrier)?;
        object.arriving.resize(object.arriving.len().max(agent + 1), 0);
        object.arriving[agent] = stamp;
        let signalled = self.change(flight.mbarrier, |state| match flight.signal {
            Signal::CompleteBytes(bytes) => state.complete_bytes(bytes),
            Signal::Arrive => state.arrive(1).map(|_| ()),
        });
        signalled.map_err(|fault| match flight.copies.first() {
            Some(copy) => fault.at_line(copy.line),
            None => fault,
        })
    }

    /// Moves the bytes of all copies that threads wait for in groups, which they may do at any
    /// time.
    pub(crate) fn move_groups(&mut self, air: &mut Air<'_>) -> Result<(), Fault> {
        for groups in self.groups.iter_mut().chain(&mut self.bulk_groups) {
            for copy in groups.all() {
                air.move_bytes(copy)?;
            }
        }
        Ok(())
    }

    /// The cluster ends: nothing may still read or write its shared memory. Stores whose reads
    /// were waited for move now.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        let bulk = |flight: &&Flight| matches!(flight.signal, Signal::CompleteBytes(_));
        let loads = self.flights.iter().filter(bulk).flat_map(|flight| &flight.copies);
        let stores = self.bulk_groups.iter_mut().flat_map(Groups::all).map(|copy| &*copy);
        match loads.chain(stores).find(|copy| !copy.landed) {
            None => Ok(()),
            Some(copy) => {
                let message = "the cluster exits while a copy from or to its shared memory is in \
                               flight: wait for its mbarrier or its bulk group";
                Err(Fault::new(FaultKind::MissingWait, message).at_line(copy.line))
            }
        }
    }
}

/// Where copies fly: the memories, and the count of synchronisations.
pub(crate) struct Air<'a> {
    pub(crate) env: &'a Env<'a>,
    pub(crate) shared: &'a mut [Shared],
    pub(crate) tick: &'a mut u32,
}

impl Air<'_> {
    /// Moves the bytes of a copy, unless they have moved.
    pub(crate) fn move_bytes(&mut self, copy: &mut Copy) -> Result<(), Fault> {
        if std::mem::replace(&mut copy.landed, true) {
            return Ok(());
        }
        let mut bytes = vec![0; copy.bytes as usize];
        let read = &mut bytes[..copy.source_bytes as usize];
        let moved = match copy.source {
            Place::Global(_) if read.is_empty() => Ok(()),
            Place::Global(address) => self.env.memory.read(address, read),
            Place::Shared { rank, offset } => {
                self.shared[rank as usize].peek(offset, read);
                Ok(())
            }
        };
        let moved = moved.and_then(|()| match copy.destination {
            Place::Global(address) => self.env.memory.write(address, &bytes),
            Place::Shared { rank, offset } => {
                self.shared[rank as usize].poke(offset, &bytes);
                Ok(())
            }
        });
        // Checked at the issue; the memory may have been freed since.
        moved.map_err(|error| {
            Fault::new(FaultKind::UseAfterFree, error.to_string()).at_line(copy.line)
        })
    }

    /// The source of a copy is read: it may be written again.
    pub(crate) fn free_source(&mut self, copy: &Copy) {
        if let Place::Shared { rank, offset } = copy.source {
            self.shared[rank as usize].complete_read(offset, copy.source_bytes);
        }
    }

    /// Completes a copy: its bytes are there, its words are free, and `writer` wrote them.
    pub(crate) fn complete(&mut self, copy: &Copy, writer: Writer) -> Result<(), Fault> {
        self.move_bytes(&mut copy.clone())?;
        self.free_source(copy);
        if let Place::Shared { rank, offset } = copy.destination {
            self.shared[rank as usize].complete_write(offset, copy.bytes, writer);
        }
        Ok(())
    }
}
