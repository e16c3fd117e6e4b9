//! What tests ask of the library beyond the driver API: settings, counters, reports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use crate::config::Config;
use crate::driver::{Driver, try_inspect};
use crate::error::{Code, Failure, Result};
use crate::memory::Origin;

/// What has happened so far. It outlives contexts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Whether the settings are made, so that `cuInit` does not read the environment again.
    pub(crate) configured: bool,
    calls: BTreeMap<&'static str, u64>,
    kernels: BTreeMap<String, u64>,
    /// Calls that allocate: what `fail_alloc` counts.
    pub(crate) allocations: u64,
    /// Calls that launch: what `fail_launch` counts.
    pub(crate) launches: u64,
    pub(crate) warp_instructions: u64,
    /// What destroyed contexts still held, a line each.
    pub(crate) leaks: Vec<String>,
    last_failure: String,
}

impl Counters {
    pub(crate) fn count_call(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
    }

    pub(crate) fn count_kernel(&mut self, name: &str) {
        match self.kernels.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.kernels.insert(name.to_owned(), 1)),
        }
    }

    pub(crate) fn note_failure(&mut self, name: &str, failure: &Failure, trace: bool) {
        // An answer, not a failure.
        if failure.code == Code::NOT_READY {
            return;
        }
        self.last_failure = format!("{name}: {:?}: {}", failure.code, failure.why);
        if trace {
            say(&self.last_failure);
        }
    }

    fn num_kernels(&self) -> u64 {
        self.kernels.values().sum()
    }
}

#[expect(clippy::print_stderr, reason = "the driver API has no way to say why a call failed")]
pub(crate) fn say(text: &str) {
    eprintln!("fake-cuda: {text}");
}

fn table<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    counts.fold(String::new(), |mut text, (name, count)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{count} {name}");
        text
    })
}

impl Driver {
    /// Takes over `config`. The device must not be in use.
    pub(crate) fn configure(&mut self, config: Config) {
        let counters = std::mem::take(&mut self.counters);
        if config.report.is_some() && self.config.report.is_none() {
            crate::ffi::at_exit(report_at_exit);
        }
        if config.summary && !self.config.summary {
            crate::ffi::at_exit(summarise_at_exit);
        }
        let compiled = std::mem::take(&mut self.compiled);
        let num_contexts = self.num_contexts;
        *self = Driver { counters, compiled, num_contexts, ..Driver::new(config) };
        self.counters.configured = true;
    }

    /// Forgets settings, faults and objects, so that the next `cuInit` starts anew. Counters go on.
    pub(crate) fn reset(&mut self) {
        self.configure(Config::default());
        self.counters.configured = false;
        self.counters.leaks.clear();
        self.counters.last_failure.clear();
    }

    /// Changes one setting; before `cuInit` it may be one that makes another device.
    pub(crate) fn set(&mut self, name: &str, value: u64) -> Result<()> {
        if self.initialized {
            if matches!(name, "num_sms" | "compute_capability" | "memory_bytes") {
                return Code::ILLEGAL_STATE.err(format!("{name} cannot change after cuInit"));
            }
            return self.config.set(name, value);
        }
        self.prepare()?;
        let mut config = self.config.clone();
        config.set(name, value)?;
        self.configure(config);
        Ok(())
    }

    /// A counter by name.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let counters = &self.counters;
        Ok(match name {
            "calls" => counters.calls.values().sum(),
            "kernels" => counters.num_kernels(),
            "distinct_kernels" => counters.kernels.len() as u64,
            "allocations" => counters.allocations,
            "launches" => counters.launches,
            "warp_instructions" => counters.warp_instructions,
            "living" => self.living().len() as u64,
            "leaks" => counters.leaks.len() as u64,
            _ if name.starts_with("cu") => counters.calls.get(name).copied().unwrap_or(0),
            _ => return Code::NOT_FOUND.err(format!("there is no counter called {name}")),
        })
    }

    /// A report by name, a line for each item.
    pub(crate) fn report(&self, name: &str) -> Result<String> {
        let counters = &self.counters;
        Ok(match name {
            "fault" => self.fault.as_ref().map_or(String::new(), |fault| fault.message.clone()),
            "failure" => counters.last_failure.clone(),
            "living" => self.living().join("\n"),
            "leaks" => counters.leaks.join("\n"),
            "calls" => table(counters.calls.iter().map(|(name, count)| (*name, *count))),
            "kernels" => table(counters.kernels.iter().map(|(name, count)| (&**name, *count))),
            _ => return Code::NOT_FOUND.err(format!("there is no report called {name}")),
        })
    }

    /// Everything that the program has made and not destroyed, a line each.
    pub(crate) fn living(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (address, allocation) in self.memory.allocations() {
            let kind = match allocation.origin {
                Origin::Alloc => "memory",
                Origin::Pool(_) => "pool memory",
                Origin::Graph => "graph memory",
            };
            lines.push(format!("{kind} {address:#x} of {} bytes", allocation.bytes));
        }
        for (address, bytes, ours) in self.host.iter() {
            let kind = if ours { "pinned memory" } else { "registration" };
            lines.push(format!("{kind} {address:#x} of {bytes} bytes"));
        }
        lines.extend(self.virtual_memory.living());
        let handles = [
            ("stream", self.streams.living().collect::<Vec<_>>()),
            ("event", self.events.iter().map(|(handle, _)| handle).collect()),
            ("module", self.modules.iter().map(|(handle, _)| handle).collect()),
            ("graph", self.graphs.iter().map(|(handle, _)| handle).collect()),
            ("graph exec", self.execs.iter().map(|(handle, _)| handle).collect()),
        ];
        for (kind, handles) in handles {
            lines.extend(handles.iter().map(|handle| format!("{kind} {:#x}", handle.0)));
        }
        lines
    }
}

/// Says in one line what the process did.
extern "C" fn summarise_at_exit() {
    try_inspect(|driver| {
        let Counters { calls, kernels, warp_instructions, .. } = &driver.counters;
        let (num_calls, num_runs) = (calls.values().sum::<u64>(), driver.counters.num_kernels());
        say(&format!(
            "{num_calls} calls of {} functions, {num_runs} runs of {} kernels, \
             {warp_instructions} warp instructions",
            calls.len(),
            kernels.len()
        ));
    });
}

/// Appends to the report file what the process did and what it left.
extern "C" fn report_at_exit() {
    try_inspect(|driver| {
        let Some(path) = &driver.config.report else { return };
        let counters = &driver.counters;
        let mut text = table(counters.kernels.iter().map(|(name, n)| (&**name, *n)))
            .lines()
            .map(|line| format!("kernel {line}\n"))
            .collect::<String>();
        let leaks = counters.leaks.iter().cloned().chain(driver.living());
        leaks.for_each(|leak| text.push_str(&format!("leak {leak}\n")));
        text.push_str(&format!("calls {}\n", counters.calls.values().sum::<u64>()));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            say(&format!("cannot write the report {path}: {error}"));
        }
    });
}
