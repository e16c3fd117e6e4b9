//! Stream-ordered allocation.

use crate::error::Code;
use crate::ffi::{In, Out, Untyped};
use crate::handle::Handle;
use crate::types::{ALLOCATION_PINNED, LOCATION_DEVICE, MemPoolProps};

exports! {
    Context cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: Handle) |driver, caller| {
        address.set(driver.alloc_async(bytes as u64, driver.pools.current, stream, caller)?)
    };
    Context cuMemAllocFromPoolAsync(address: Out<u64>, bytes: usize, pool: Handle, stream: Handle)
        |driver, caller| address.set(driver.alloc_async(bytes as u64, pool, stream, caller)?);
    Context cuMemFreeAsync(address: u64, stream: Handle) |driver, caller| {
        driver.free_async(address, stream, caller)
    };
    Context cuMemPoolCreate(pool: Out<Handle>, props: In<MemPoolProps>) |driver, _| {
        let props = props.get()?;
        if props.kind != ALLOCATION_PINNED || props.location.kind != LOCATION_DEVICE {
            return Code::NOT_SUPPORTED.err("only pools of device memory are modelled");
        }
        pool.set(driver.pools.create())
    };
    Context cuMemPoolDestroy(pool: Handle) |driver, _| driver.pools.destroy(pool);
    // Nothing freed is kept.
    Context cuMemPoolTrimTo(pool: Handle, _bytes: usize) |driver, _| driver.pools.check(pool);
    Context cuMemPoolGetAttribute(pool: Handle, attribute: u32, value: Untyped) |driver, _| {
        let number = driver.pools.attribute(pool, attribute)?;
        value.set(&number.to_le_bytes()[..width(attribute)])
    };
    Context cuMemPoolSetAttribute(pool: Handle, attribute: u32, value: Untyped) |driver, _| {
        let number = if width(attribute) == 4 { 1 } else { value.get_u64()? };
        driver.pools.set_attribute(pool, attribute, number)
    };
}

/// Bytes of a pool attribute: the first three are switches (`int`), the others sizes.
fn width(attribute: u32) -> usize {
    if attribute < 4 { 4 } else { 8 }
}
