//! The device.

use crate::device::{NAME, UUID};
use crate::error::Code;
use crate::ffi::{Out, set_text};
use crate::handle::Handle;
use crate::types::Uuid;

exports! {
    Init cuDeviceGetCount(count: Out<i32>) |_, _| count.set(1);
    Init cuDeviceGet(device: Out<i32>, ordinal: i32) |driver, _| {
        driver.check_device(ordinal)?;
        device.set(ordinal)
    };
    Init cuDeviceGetName(name: Out<u8>, len: i32, device: i32) |driver, _| {
        driver.check_device(device)?;
        set_text(name, usize::try_from(len).unwrap_or(0), NAME)
    };
    Init cuDeviceGetUuid(uuid: Out<Uuid>, device: i32) |driver, _| {
        driver.check_device(device)?;
        uuid.set(UUID)
    };
    Init cuDeviceGetUuid_v2(uuid: Out<Uuid>, device: i32) |driver, _| {
        driver.check_device(device)?;
        uuid.set(UUID)
    };
    Init cuDeviceGetPCIBusId(id: Out<u8>, len: i32, device: i32) |driver, _| {
        driver.check_device(device)?;
        set_text(id, usize::try_from(len).unwrap_or(0), "0000:00:00.0")
    };
    Init cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) |driver, _| {
        driver.check_device(device)?;
        bytes.set(driver.memory.total() as usize)
    };
    Init cuDeviceGetAttribute(value: Out<u32>, attribute: u32, device: i32) |driver, _| {
        driver.check_device(device)?;
        value.set(driver.device_attribute(attribute)?)
    };
    Init cuDeviceGetDefaultMemPool(pool: Out<Handle>, device: i32) |driver, _| {
        driver.check_device(device)?;
        pool.set(driver.pools.default_pool())
    };
    Init cuDeviceGetMemPool(pool: Out<Handle>, device: i32) |driver, _| {
        driver.check_device(device)?;
        pool.set(driver.pools.current)
    };
    Init cuDeviceSetMemPool(device: i32, pool: Handle) |driver, _| {
        driver.check_device(device)?;
        driver.pools.select(pool)
    };
    Init cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) |driver, _| {
        driver.check_device(device)?;
        driver.check_device(peer)?;
        can.set(0)
    };
    Init cuDeviceGraphMemTrim(device: i32) |driver, _| driver.check_device(device);
    Init cuDeviceGetByPCIBusId(_device: Out<i32>, _id: usize) |_, _| {
        Code::INVALID_DEVICE.err("the device is on no bus")
    };
}
