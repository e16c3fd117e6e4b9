//! A device's primary context, and the one way to call the driver.

#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::{CUctx_st, CUdevice, CUresult, cuDevicePrimaryCtxRetain};
use tintype_ops::MemoryInfo;

use super::handle::Handle;
use super::{Device, DriverError};

/// The context in which everything else lives. Owners of handles keep it alive.
#[derive(Debug)]
pub(crate) struct Context {
    handle: Handle<CUctx_st>,
    device: CUdevice,
    fault: OnceLock<DriverError>,
    num_calls: AtomicU64,
}

impl Context {
    /// Takes hold of the device's primary context, makes it if nobody else did, and makes it
    /// current.
    ///
    /// # Errors
    /// When the driver refuses, most often for want of memory.
    pub(crate) fn retain(device: &Device) -> Result<Arc<Self>, DriverError> {
        let mut handle = ptr::null_mut();
        let id = device.id();
        // SAFETY: the device id came from the driver, and the pointer is valid for the one handle
        // written.
        let code = unsafe { cuDevicePrimaryCtxRetain(&raw mut handle, id) };
        DriverError::check("cuDevicePrimaryCtxRetain", code)?;
        let context = Arc::new(Self {
            handle: Handle::new(handle),
            device: id,
            fault: OnceLock::new(),
            num_calls: AtomicU64::new(1),
        });
        context.bind()?;
        Ok(context)
    }

    /// Makes the context current on this thread.
    ///
    /// # Errors
    /// After a fault.
    pub(crate) fn bind(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained until this value is dropped.
        unsafe { call!(self, cuCtxSetCurrent(self.handle.raw())) }
    }

    /// Runs `call`, which calls the driver's function `name`.
    ///
    /// # Errors
    /// What the driver answered; after a fault that fault, and `call` is not run.
    pub(super) fn call(
        &self,
        name: &'static str,
        call: impl FnOnce() -> CUresult,
    ) -> Result<(), DriverError> {
        if let Some(fault) = self.fault.get() {
            return Err(fault.clone());
        }
        self.num_calls.fetch_add(1, Ordering::Relaxed);
        DriverError::check(name, call()).inspect_err(|error| {
            if error.is_fault() {
                // Whoever was first is kept.
                let _ = self.fault.set(error.clone());
            }
        })
    }

    /// Runs `destroy` with the context current. For destructors, which have nobody to tell when it
    /// fails.
    pub(super) fn release(&self, destroy: impl FnOnce() -> Result<(), DriverError>) {
        let _ = self.bind().and_then(|()| destroy());
    }

    /// How much memory the device has, and how much of it is free.
    ///
    /// # Errors
    /// After a fault.
    pub(crate) fn memory_info(&self) -> Result<MemoryInfo, DriverError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both pointers are valid for the one integer written to each.
        unsafe { call!(self, cuMemGetInfo_v2(&raw mut free, &raw mut total)) }?;
        Ok(MemoryInfo { free_bytes: free as u64, total_bytes: total as u64 })
    }

    /// How often the driver was called.
    pub(crate) fn num_calls(&self) -> u64 {
        self.num_calls.load(Ordering::Relaxed)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was retained once and is released once. Whatever lived in it holds a
        // reference to this value, so it is gone.
        let _ = unsafe { call!(self, cuDevicePrimaryCtxRelease_v2(self.device)) };
    }
}
