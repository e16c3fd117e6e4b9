//! Device memory, pinned memory, copies and fills.

use crate::copy::Copy;
use crate::copy::Return::{Done, Early};
use crate::driver::Driver;
use crate::error::{Code, Result};
use crate::ffi::{HostAddress, In, Out, Untyped};
use crate::handle::Handle;
use crate::stream::LEGACY;
use crate::types::{DEVICE_MEMORY, HOST_MEMORY, Memcpy2d};

exports! {
    Context cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) |driver, _| {
        free.set_if_wanted(driver.memory.free_bytes() as usize);
        total.set_if_wanted(driver.memory.total() as usize);
        Ok(())
    };
    Context cuMemAlloc_v2(address: Out<u64>, bytes: usize) |driver, caller| {
        address.set(driver.mem_alloc(bytes as u64, caller)?)
    };
    Context cuMemFree_v2(address: u64) |driver, caller| driver.mem_free(address, caller);
    Context cuMemGetAddressRange_v2(base: Out<u64>, bytes: Out<usize>, address: u64) |driver, _| {
        let Some((start, len)) = driver.memory.space().allocation(address) else {
            return Code::NOT_FOUND.err(format!("{address:#x} is not device memory"));
        };
        base.set_if_wanted(start);
        bytes.set_if_wanted(len as usize);
        Ok(())
    };
    Context cuMemHostAlloc(address: Out<usize>, bytes: usize, flags: u32) |driver, caller| {
        address.set(driver.host_alloc(bytes, flags, caller)?)
    };
    Context cuMemAllocHost_v2(address: Out<usize>, bytes: usize) |driver, caller| {
        address.set(driver.host_alloc(bytes, 0, caller)?)
    };
    Context cuMemFreeHost(address: HostAddress) |driver, caller| driver.host_free(address, caller);
    Context cuMemHostRegister_v2(address: HostAddress, bytes: usize, flags: u32)
        |driver, caller| driver.host_register(address, bytes, flags, caller);
    Context cuMemHostUnregister(address: HostAddress) |driver, caller| {
        driver.host_unregister(address, caller)
    };
    Context cuMemHostGetFlags(flags: Out<u32>, address: HostAddress) |driver, _| {
        flags.set(driver.host_flags(address)?)
    };
    Context cuMemHostGetDevicePointer_v2(address: Out<u64>, host: HostAddress, flags: u32)
        |driver, _| address.set(driver.host_device_pointer(host, flags)?);

    Context cuMemcpyHtoD_v2(to: u64, from: HostAddress, bytes: usize) |driver, caller| {
        driver.copy(Copy::to_device(to, from, bytes), LEGACY, Done, caller)
    };
    Context cuMemcpyDtoH_v2(to: HostAddress, from: u64, bytes: usize) |driver, caller| {
        driver.copy(Copy::to_host(to, from, bytes), LEGACY, Done, caller)
    };
    // Does not wait: both sides are the device's.
    Context cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) |driver, caller| {
        driver.copy(Copy::within(to, from, bytes), LEGACY, Early, caller)
    };
    Context cuMemcpyHtoDAsync_v2(to: u64, from: HostAddress, bytes: usize, stream: Handle)
        |driver, caller| driver.copy(Copy::to_device(to, from, bytes), stream, Early, caller);
    Context cuMemcpyDtoHAsync_v2(to: HostAddress, from: u64, bytes: usize, stream: Handle)
        |driver, caller| driver.copy(Copy::to_host(to, from, bytes), stream, Early, caller);
    Context cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle)
        |driver, caller| driver.copy(Copy::within(to, from, bytes), stream, Early, caller);
    Context cuMemcpy2D_v2(copy: In<Memcpy2d>) |driver, caller| {
        driver.copy(Copy::planes(&copy.get()?)?, LEGACY, Done, caller)
    };
    Context cuMemcpy2DUnaligned_v2(copy: In<Memcpy2d>) |driver, caller| {
        driver.copy(Copy::planes(&copy.get()?)?, LEGACY, Done, caller)
    };
    Context cuMemcpy2DAsync_v2(copy: In<Memcpy2d>, stream: Handle) |driver, caller| {
        driver.copy(Copy::planes(&copy.get()?)?, stream, Early, caller)
    };

    Context cuMemsetD8_v2(address: u64, value: u8, count: usize) |driver, caller| {
        driver.fill(address, &[value], count, LEGACY, caller)
    };
    Context cuMemsetD16_v2(address: u64, value: u16, count: usize) |driver, caller| {
        driver.fill(address, &value.to_le_bytes(), count, LEGACY, caller)
    };
    Context cuMemsetD32_v2(address: u64, value: u32, count: usize) |driver, caller| {
        driver.fill(address, &value.to_le_bytes(), count, LEGACY, caller)
    };
    Context cuMemsetD8Async(address: u64, value: u8, count: usize, stream: Handle)
        |driver, caller| driver.fill(address, &[value], count, stream, caller);
    Context cuMemsetD16Async(address: u64, value: u16, count: usize, stream: Handle)
        |driver, caller| driver.fill(address, &value.to_le_bytes(), count, stream, caller);
    Context cuMemsetD32Async(address: u64, value: u32, count: usize, stream: Handle)
        |driver, caller| driver.fill(address, &value.to_le_bytes(), count, stream, caller);

    Context cuPointerGetAttribute(value: Untyped, attribute: u32, address: u64) |driver, _| {
        value.set(&driver.pointer_attribute(attribute, address)?)
    };
    // Unlike the single form this one succeeds for any address, and says nothing about it.
    Context cuPointerGetAttributes(
        count: u32,
        attributes: In<u32>,
        values: In<Untyped>,
        address: u64,
    ) |driver, _| {
        let count = count as usize;
        for (attribute, value) in attributes.get_all(count)?.into_iter().zip(values.get_all(count)?)
        {
            match driver.pointer_attribute(attribute, address) {
                Ok(bytes) => value.set(&bytes)?,
                Err(_) => value.set(&[0; 4])?,
            }
        }
        Ok(())
    };
}

impl Driver {
    /// A `CUpointer_attribute` as the bytes of its type.
    fn pointer_attribute(&self, attribute: u32, address: u64) -> Result<Vec<u8>> {
        let on_device = self.memory.space().allocation(address);
        let on_host = self.host.range(address as usize);
        let (start, len) = match (on_device, on_host) {
            (Some(range), _) => range,
            (None, Some((start, len))) => (start as u64, len as u64),
            (None, None) => {
                return Code::INVALID_VALUE.err(format!("{address:#x} is no memory of the driver"));
            }
        };
        let kind = if on_device.is_some() { DEVICE_MEMORY } else { HOST_MEMORY };
        Ok(match attribute {
            1 => self.context.unwrap_or_default().0.to_le_bytes().to_vec(),
            2 => kind.to_le_bytes().to_vec(),
            3 if on_device.is_some() => address.to_le_bytes().to_vec(),
            4 if on_host.is_some() => address.to_le_bytes().to_vec(),
            // Synchronous operations, managed memory.
            6 | 8 => vec![0],
            // The buffer's id: nothing else begins there.
            7 | 11 => start.to_le_bytes().to_vec(),
            9 => 0u32.to_le_bytes().to_vec(),
            12 => len.to_le_bytes().to_vec(),
            13 => vec![1],
            _ => return Code::NOT_SUPPORTED.err(format!("pointer attribute {attribute}")),
        })
    }
}
