//! The primary context, and which context is current.

use crate::error::Code;
use crate::ffi::Out;
use crate::handle::Handle;
use crate::stream::PRIORITIES;

/// `CU_LIMIT_STACK_SIZE` and the largest limit there is.
const STACK_SIZE: u32 = 0;
const LAST_LIMIT: u32 = 9;

exports! {
    Init cuDevicePrimaryCtxRetain(context: Out<Handle>, device: i32) |driver, _| {
        context.set(driver.context_retain(device)?)
    };
    Init cuDevicePrimaryCtxRelease_v2(device: i32) |driver, _| driver.context_release(device);
    Init cuDevicePrimaryCtxReset_v2(device: i32) |driver, _| driver.context_reset(device);
    Init cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) |driver, _| {
        driver.check_device(device)?;
        driver.context_flags = flags;
        Ok(())
    };
    Init cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) |driver, _| {
        driver.check_device(device)?;
        flags.set_if_wanted(driver.context_flags);
        active.set_if_wanted(driver.context.is_some().into());
        Ok(())
    };
    Init cuCtxSetCurrent(context: Handle) |driver, caller| driver.context_set(context, caller);
    Init cuCtxGetCurrent(context: Out<Handle>) |_, caller| {
        context.set(caller.context().unwrap_or(Handle::NULL))
    };
    Init cuCtxPushCurrent_v2(context: Handle) |driver, caller| {
        driver.check_context(context)?;
        caller.contexts.push(context);
        Ok(())
    };
    Init cuCtxPopCurrent_v2(context: Out<Handle>) |_, caller| match caller.contexts.pop() {
        Some(top) => {
            context.set_if_wanted(top);
            Ok(())
        }
        None => Code::INVALID_CONTEXT.err("no context is current"),
    };
    Context cuCtxGetDevice(device: Out<i32>) |_, _| device.set(0);
    Context cuCtxSynchronize() |driver, _| driver.context_synchronize();
    Context cuCtxGetFlags(flags: Out<u32>) |driver, _| flags.set(driver.context_flags);
    Context cuCtxGetApiVersion(_context: Handle, version: Out<u32>) |_, _| version.set(3020);
    Context cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) |_, _| {
        least.set_if_wanted(PRIORITIES.0);
        greatest.set_if_wanted(PRIORITIES.1);
        Ok(())
    };
    Context cuCtxGetLimit(value: Out<usize>, limit: u32) |_, _| match limit {
        STACK_SIZE => value.set(1024),
        1..=LAST_LIMIT => value.set(0),
        _ => Err(Code::UNSUPPORTED_LIMIT.into()),
    };
    // Limits bound resources that interpreted kernels do not use.
    Context cuCtxSetLimit(limit: u32, _value: usize) |_, _| match limit {
        ..=LAST_LIMIT => Ok(()),
        _ => Err(Code::UNSUPPORTED_LIMIT.into()),
    };
}
