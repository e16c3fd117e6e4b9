//! Events.

use crate::ffi::Out;
use crate::handle::Handle;

exports! {
    Context cuEventCreate(event: Out<Handle>, flags: u32) |driver, _| {
        event.set(driver.event_create(flags)?)
    };
    Context cuEventDestroy_v2(event: Handle) |driver, _| driver.event_destroy(event);
    Context cuEventRecord(event: Handle, stream: Handle) |driver, caller| {
        driver.event_record(event, stream, caller)
    };
    Context cuEventRecordWithFlags(event: Handle, stream: Handle, _flags: u32)
        |driver, caller| driver.event_record(event, stream, caller);
    Context cuEventQuery(event: Handle) |driver, caller| driver.event_query(event, caller);
    Context cuEventSynchronize(event: Handle) |driver, caller| {
        driver.event_synchronize(event, caller)
    };
    Context cuEventElapsedTime(ms: Out<f32>, start: Handle, end: Handle) |driver, _| {
        ms.set(driver.event_elapsed(start, end)?)
    };
    Context cuEventElapsedTime_v2(ms: Out<f32>, start: Handle, end: Handle) |driver, _| {
        ms.set(driver.event_elapsed(start, end)?)
    };
}
