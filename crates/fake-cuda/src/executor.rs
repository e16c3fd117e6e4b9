//! Runs queued work: only when somebody waits for it, and only as far as that takes.

use std::sync::Arc;
use std::time::Instant;

use ptx_interp::{Launch, Options};

use crate::config::expires;
use crate::driver::Driver;
use crate::faults::Fault;
use crate::graph::{Node, execution_order, overlaps};
use crate::launch::KernelCall;
use crate::operation::Operation;
use crate::stream::{Marker, Work};

/// A kernel to run, and whether it may overlap the one in front.
type Queued = (Arc<KernelCall>, bool);

impl Driver {
    /// Runs what has to be done until `goal` is reached.
    pub(crate) fn run_until(&mut self, goal: Marker) {
        // A stack of our own: streams that wait for each other in turn nest deeply.
        let mut goals = vec![goal];
        while let Some(&goal) = goals.last() {
            match self.blocker(goal) {
                Some(marker) => goals.push(marker),
                None if self.streams.reached(goal) => drop(goals.pop()),
                None => self.step(goal),
            }
        }
        self.streams.bury();
    }

    /// Runs one step on the way to `goal`.
    pub(crate) fn run_one(&mut self, mut goal: Marker) {
        while let Some(marker) = self.blocker(goal) {
            goal = marker;
        }
        self.step(goal);
        self.streams.bury();
    }

    /// Runs all work of all streams.
    pub(crate) fn run_everything(&mut self) {
        let ends: Vec<Marker> =
            self.streams.iter().map(|(handle, _)| self.streams.end(handle)).collect();
        for end in ends {
            self.run_until(end);
        }
    }

    /// The point that the stream of `goal` waits for, if it cannot go on.
    fn blocker(&self, goal: Marker) -> Option<Marker> {
        if self.streams.reached(goal) {
            return None;
        }
        match self.streams.find(goal.stream)?.queue.front()? {
            &Work::Wait(marker) if !self.streams.reached(marker) => Some(marker),
            _ => None,
        }
    }

    /// Runs the next item of the stream, or the next kernels up to `goal` together, so that
    /// programmatic launches overlap.
    fn step(&mut self, goal: Marker) {
        let Some(stream) = self.streams.find_mut(goal.stream) else { return };
        let mut kernels: Vec<Queued> = Vec::new();
        while stream.done + (kernels.len() as u64) < goal.count
            && let Some(Work::Run { operation: Operation::Kernel(call), programmatic }) =
                stream.queue.front()
        {
            kernels.push((Arc::clone(call), *programmatic));
            stream.queue.pop_front();
        }
        if kernels.is_empty() {
            let Some(work) = stream.queue.pop_front() else { return };
            let place = Marker { stream: goal.stream, count: stream.done + 1 };
            self.run_work(&work, place);
            self.advance(goal, 1);
        } else {
            self.run_kernels(&kernels);
            self.advance(goal, kernels.len() as u64);
        }
    }

    fn advance(&mut self, goal: Marker, count: u64) {
        if let Some(stream) = self.streams.find_mut(goal.stream) {
            stream.done += count;
        }
    }

    fn run_work(&mut self, work: &Work, place: Marker) {
        if self.fault.is_some() {
            return;
        }
        match work {
            Work::Run { operation, .. } => self.perform(operation),
            Work::Replay(nodes) => self.run_nodes(nodes),
            Work::Record(event) => {
                // A destroyed event is recorded for nobody.
                if let Ok(event) = self.events.get_mut(*event) {
                    event.reached(place, Instant::now());
                }
            }
            Work::Wait(_) => {}
        }
    }

    /// Runs a graph: kernels in a row together, everything in an order that the edges allow.
    fn run_nodes(&mut self, nodes: &[Node]) {
        let mut kernels: Vec<Queued> = Vec::new();
        let mut previous = None;
        for index in execution_order(nodes, self.config.seed) {
            if let Operation::Kernel(call) = &nodes[index].operation {
                kernels.push((Arc::clone(call), overlaps(&nodes[index], previous)));
            } else {
                self.run_kernels(&std::mem::take(&mut kernels));
                if self.fault.is_some() {
                    return;
                }
                self.perform(&nodes[index].operation);
            }
            previous = Some(index);
        }
        self.run_kernels(&kernels);
    }

    /// Runs kernels one after the other, as one stream does.
    pub(crate) fn run_kernels(&mut self, kernels: &[Queued]) {
        if self.fault.is_some() || kernels.is_empty() {
            return;
        }
        let injected = kernels.iter().position(|_| expires(&mut self.config.fault_kernel));
        let healthy = &kernels[..injected.unwrap_or(kernels.len())];
        for (call, _) in healthy {
            self.counters.count_kernel(&call.name);
        }
        let launches: Vec<Launch<'_>> = healthy.iter().map(as_launch).collect();
        let options = Options {
            seed: self.config.seed,
            max_steps: self.config.max_steps,
            ..Options::default()
        };
        let space = Arc::clone(self.memory.space());
        let mapped = self.host.show_to_kernels(&space);
        match ptx_interp::run(&space, &launches, &options) {
            Ok(stats) => self.counters.warp_instructions += stats.warp_instructions,
            Err(fault) => self.fail(Fault::of_kernel(&fault)),
        }
        let shown = mapped.and_then(|all| all.iter().try_for_each(|m| m.show_to_program(&space)));
        shown.expect("pinned memory has its device address until it is freed");
        if let Some(index) = injected {
            self.fail(Fault::injected(&kernels[index].0.name));
        }
    }
}

fn as_launch((call, programmatic): &Queued) -> Launch<'_> {
    Launch {
        module: call.image.loaded(),
        kernel: &call.name,
        grid: call.grid,
        block: call.block,
        cluster: call.cluster,
        dynamic_shared_bytes: call.shared_bytes,
        params: &call.params,
        programmatic: *programmatic,
    }
}
