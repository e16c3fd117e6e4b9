//! The primary context: while it is retained, everything else exists.

use crate::capture::CaptureMode;
use crate::config::Config;
use crate::control::say;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::handle::{Handle, Kind};

impl Driver {
    /// `cuInit`, with the settings from the environment unless some were made by call.
    pub(crate) fn init(&mut self, flags: u32) -> Result<()> {
        if flags != 0 {
            return Code::INVALID_VALUE.err(format!("cuInit takes no flags, not {flags:#x}"));
        }
        if self.initialized {
            return Ok(());
        }
        self.prepare()?;
        if self.config.init_error != 0 {
            return Code(self.config.init_error).err("injected failure of cuInit");
        }
        self.initialized = true;
        Ok(())
    }

    /// Reads the settings from the environment, unless they were read or made by call.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if !self.counters.configured {
            let config = Config::from_variables(std::env::vars());
            self.configure(config.inspect_err(|failure| say(&failure.why))?);
        }
        Ok(())
    }

    /// `cuDevicePrimaryCtxRetain`.
    pub(crate) fn context_retain(&mut self, device: i32) -> Result<Handle> {
        self.check_device(device)?;
        self.healthy()?;
        self.num_retains += 1;
        if let Some(context) = self.context {
            return Ok(context);
        }
        self.num_contexts += 1;
        let context = Handle::new(Kind::Context, self.num_contexts);
        self.context = Some(context);
        Ok(context)
    }

    /// `cuDevicePrimaryCtxRelease`: the last one destroys the context.
    pub(crate) fn context_release(&mut self, device: i32) -> Result<()> {
        self.check_device(device)?;
        match self.num_retains {
            0 => return Code::INVALID_CONTEXT.err("the primary context is not retained"),
            1 => self.destroy_context(),
            _ => {}
        }
        self.num_retains -= 1;
        Ok(())
    }

    /// `cuDevicePrimaryCtxReset`.
    pub(crate) fn context_reset(&mut self, device: i32) -> Result<()> {
        self.check_device(device)?;
        self.destroy_context();
        self.num_retains = 0;
        self.healthy()
    }

    /// Destroys the context and all that lives in it. What the program did not is a leak.
    fn destroy_context(&mut self) {
        self.run_everything();
        let left = self.living();
        self.counters.leaks.extend(left);
        let fresh = Driver::new(self.config.clone());
        let old = std::mem::replace(self, fresh);
        self.initialized = old.initialized;
        self.num_retains = old.num_retains;
        self.num_contexts = old.num_contexts;
        self.context_flags = old.context_flags;
        self.fault = old.fault;
        self.counters = old.counters;
    }

    /// # Errors
    /// `INVALID_CONTEXT` for a handle that never was a context.
    pub(crate) fn check_context(&self, context: Handle) -> Result<()> {
        match context.id(Kind::Context) {
            Ok(id) if (1..=self.num_contexts).contains(&id) => Ok(()),
            _ => Code::INVALID_CONTEXT.err(format!("{:#x} is no context", context.0)),
        }
    }

    /// `cuCtxSetCurrent`: replaces the top of the thread's stack; null takes it away.
    pub(crate) fn context_set(&self, context: Handle, caller: &mut Caller) -> Result<()> {
        if context != Handle::NULL {
            self.check_context(context)?;
        }
        caller.contexts.pop();
        if context != Handle::NULL {
            caller.contexts.push(context);
        }
        Ok(())
    }

    /// `cuThreadExchangeStreamCaptureMode`.
    pub(crate) fn exchange_mode(&self, mode: u32, caller: &mut Caller) -> Result<u32> {
        let new = CaptureMode::new(mode)?;
        Ok(std::mem::replace(&mut caller.mode, new) as u32)
    }
}
