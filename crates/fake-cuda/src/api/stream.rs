//! Streams.

use crate::ffi::Out;
use crate::handle::Handle;

exports! {
    Context cuStreamCreate(stream: Out<Handle>, flags: u32) |driver, _| {
        stream.set(driver.stream_create(flags, 0)?)
    };
    Context cuStreamCreateWithPriority(stream: Out<Handle>, flags: u32, priority: i32)
        |driver, _| stream.set(driver.stream_create(flags, priority)?);
    Context cuStreamDestroy_v2(stream: Handle) |driver, caller| {
        driver.stream_destroy(stream, caller)
    };
    Context cuStreamSynchronize(stream: Handle) |driver, caller| {
        driver.stream_synchronize(stream, caller)
    };
    Context cuStreamQuery(stream: Handle) |driver, caller| driver.stream_query(stream, caller);
    Context cuStreamWaitEvent(stream: Handle, event: Handle, _flags: u32) |driver, caller| {
        driver.stream_wait_event(stream, event, caller)
    };
    Context cuStreamGetPriority(stream: Handle, priority: Out<i32>) |driver, caller| {
        let stream = driver.streams.resolve(stream, caller)?;
        priority.set(driver.streams.get(stream).priority)
    };
    Context cuStreamGetFlags(stream: Handle, flags: Out<u32>) |driver, caller| {
        let stream = driver.streams.resolve(stream, caller)?;
        flags.set(driver.streams.get(stream).flags)
    };
    Context cuStreamGetId(stream: Handle, id: Out<u64>) |driver, caller| {
        let stream = driver.streams.resolve(stream, caller)?;
        id.set(stream.0 as u64)
    };
    Context cuStreamGetCtx(stream: Handle, context: Out<Handle>) |driver, caller| {
        driver.streams.resolve(stream, caller)?;
        context.set(driver.context.unwrap_or_default())
    };
}
