//! The state of the driver, and how a call gets at it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::capture::{Capture, CaptureMode};
use crate::config::Config;
use crate::control::Counters;
use crate::error::{Code, Failure, Result};
use crate::event::Event;
use crate::faults::Fault;
use crate::graph::Graph;
use crate::graph_exec::GraphExec;
use crate::handle::{Handle, Kind, Table};
use crate::host::HostAllocations;
use crate::lent::Lent;
use crate::memory::DeviceMemory;
use crate::module::{Compiled, Function, Module};
use crate::pool::Pools;
use crate::stream::Streams;
use crate::vmm::VirtualMemory;

/// Everything that the driver of one process knows.
pub(crate) struct Driver {
    pub(crate) config: Config,
    pub(crate) initialized: bool,
    /// How often the primary context is retained; it lives while this is above 0.
    pub(crate) num_retains: u32,
    pub(crate) context: Option<Handle>,
    /// Contexts made so far, so that a destroyed one is recognised.
    pub(crate) num_contexts: u32,
    pub(crate) context_flags: u32,
    /// What went wrong on the device. It never goes away.
    pub(crate) fault: Option<Fault>,
    pub(crate) memory: DeviceMemory,
    pub(crate) virtual_memory: VirtualMemory,
    pub(crate) pools: Pools,
    pub(crate) host: HostAllocations,
    pub(crate) streams: Streams,
    pub(crate) events: Table<Event>,
    pub(crate) modules: Table<Module>,
    /// Outlives contexts, as counters do.
    pub(crate) compiled: Compiled,
    pub(crate) functions: Table<Function>,
    pub(crate) graphs: Table<Graph>,
    pub(crate) execs: Table<GraphExec>,
    /// Captures in progress, by the graph that they build.
    pub(crate) captures: BTreeMap<Handle, Capture>,
    pub(crate) counters: Counters,
    pub(crate) lent: Lent,
}

impl Driver {
    pub(crate) fn new(config: Config) -> Driver {
        Driver {
            memory: DeviceMemory::new(config.memory_bytes),
            config,
            initialized: false,
            num_retains: 0,
            context: None,
            num_contexts: 0,
            context_flags: 0,
            fault: None,
            virtual_memory: VirtualMemory::new(),
            pools: Pools::new(),
            host: HostAllocations::default(),
            streams: Streams::new(),
            events: Table::new(Kind::Event),
            modules: Table::new(Kind::Module),
            compiled: Compiled::new(),
            functions: Table::new(Kind::Function),
            graphs: Table::new(Kind::Graph),
            execs: Table::new(Kind::GraphExec),
            captures: BTreeMap::new(),
            counters: Counters::default(),
            lent: Lent::default(),
        }
    }
}

/// The thread that makes a call, and the state that the driver keeps for each thread.
pub(crate) struct Caller {
    pub(crate) thread: ThreadId,
    /// The stack of current contexts.
    pub(crate) contexts: Vec<Handle>,
    /// What `cuThreadExchangeStreamCaptureMode` left.
    pub(crate) mode: CaptureMode,
}

impl Caller {
    pub(crate) fn new(thread: ThreadId) -> Caller {
        Caller { thread, contexts: Vec::new(), mode: CaptureMode::Global }
    }

    pub(crate) fn context(&self) -> Option<Handle> {
        self.contexts.last().copied().filter(|&context| context != Handle::NULL)
    }
}

/// What must be in order before a call does anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: the call asks the library, not the device.
    Nothing,
    /// `cuInit`.
    Init,
    /// A current context on a device that works.
    Context,
}

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);

thread_local! {
    static CALLER: RefCell<Caller> = RefCell::new(Caller::new(std::thread::current().id()));
    static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

fn lock() -> MutexGuard<'static, Option<Driver>> {
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` as the API function `name`: one call at a time, for all threads.
pub(crate) fn call(
    name: &'static str,
    needs: Needs,
    body: impl FnOnce(&mut Driver, &mut Caller) -> Result<()>,
) -> Code {
    if IN_HOST_FUNCTION.get() {
        return Code::NOT_PERMITTED;
    }
    let mut guard = lock();
    let driver = guard.get_or_insert_with(|| Driver::new(Config::default()));
    let run = |caller: &RefCell<Caller>| {
        let caller = &mut caller.borrow_mut();
        driver.counters.count_call(name);
        driver.admit(needs, caller).and_then(|()| body(driver, caller))
    };
    let result = CALLER.try_with(run).unwrap_or(Err(Code::DEINITIALIZED.into()));
    match result {
        Ok(()) => Code::SUCCESS,
        Err(failure) => {
            driver.counters.note_failure(name, &failure, driver.config.trace);
            failure.code
        }
    }
}

/// Runs a function of the program, which may not call the driver.
pub(crate) fn outside_the_driver(body: impl FnOnce()) {
    IN_HOST_FUNCTION.set(true);
    body();
    IN_HOST_FUNCTION.set(false);
}

/// Runs `body` on the driver, unless another thread is in a call.
pub(crate) fn try_inspect(body: impl FnOnce(&Driver)) {
    if let Ok(guard) = DRIVER.try_lock()
        && let Some(driver) = guard.as_ref()
    {
        body(driver);
    }
}

impl Driver {
    fn admit(&mut self, needs: Needs, caller: &Caller) -> Result<()> {
        if needs == Needs::Nothing {
            return Ok(());
        }
        if !self.initialized {
            return Err(Code::NOT_INITIALIZED.into());
        }
        if needs == Needs::Init {
            return Ok(());
        }
        if crate::config::expires(&mut self.config.device_lost) {
            self.fail(Fault::lost());
        }
        match caller.context() {
            None => return Err(Code::INVALID_CONTEXT.into()),
            Some(context) if Some(context) != self.context => {
                return Err(Code::CONTEXT_IS_DESTROYED.into());
            }
            Some(_) => {}
        }
        self.healthy()
    }

    /// # Errors
    /// The code of the fault that the device has met, if any.
    pub(crate) fn healthy(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(Failure { code: fault.code, why: fault.message.clone().into() }),
            None => Ok(()),
        }
    }
}
