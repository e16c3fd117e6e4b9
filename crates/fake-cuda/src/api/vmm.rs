//! Virtual memory management.

use crate::error::Code;
use crate::ffi::{In, Out};
use crate::handle::Handle;
use crate::types::{LOCATION_DEVICE, MemAccessDesc, MemAllocationProp, MemLocation};
use crate::vmm::GRANULARITY;

/// `CU_MEM_ACCESS_FLAGS_PROT_NONE` and `..._READWRITE`.
const NO_ACCESS: u32 = 0;
const READ_WRITE: u32 = 3;

exports! {
    Context cuMemGetAllocationGranularity(
        granularity: Out<usize>,
        _prop: In<MemAllocationProp>,
        _option: u32,
    ) |_, _| granularity.set(GRANULARITY as usize);
    Context cuMemAddressReserve(
        address: Out<u64>,
        bytes: usize,
        alignment: usize,
        _wanted: u64,
        _flags: u64,
    ) |driver, _| address.set(driver.address_reserve(bytes as u64, alignment as u64)?);
    Context cuMemAddressFree(address: u64, bytes: usize) |driver, _| {
        driver.address_free(address, bytes as u64)
    };
    Context cuMemCreate(
        handle: Out<Handle>,
        bytes: usize,
        prop: In<MemAllocationProp>,
        _flags: u64,
    ) |driver, caller| handle.set(driver.physical_create(bytes as u64, &prop.get()?, caller)?);
    Context cuMemRelease(handle: Handle) |driver, _| driver.physical_release(handle);
    Context cuMemMap(address: u64, bytes: usize, offset: usize, handle: Handle, _flags: u64)
        |driver, _| driver.map(address, bytes as u64, offset as u64, handle);
    Context cuMemUnmap(address: u64, bytes: usize) |driver, caller| {
        driver.unmap(address, bytes as u64, caller)
    };
    Context cuMemSetAccess(address: u64, bytes: usize, descs: In<MemAccessDesc>, count: usize)
        |driver, _| {
            for desc in descs.get_all(count)? {
                let all_or_none = [NO_ACCESS, READ_WRITE].contains(&desc.flags);
                if desc.location.kind != LOCATION_DEVICE || !all_or_none {
                    return Code::NOT_SUPPORTED.err("access is for the device, all or none");
                }
                driver.set_access(address, bytes as u64, desc.flags == READ_WRITE)?;
            }
            Ok(())
        };
    Context cuMemGetAccess(flags: Out<u64>, _location: In<MemLocation>, address: u64) |driver, _| {
        let accessible = driver.is_accessible(address)?;
        flags.set(if accessible { READ_WRITE.into() } else { 0 })
    };
}
