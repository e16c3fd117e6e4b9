//! The devices that the driver knows.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use cudarc::driver::sys;
use cudarc::driver::sys::CUdevice_attribute as Attribute;

use super::{DriverError, Version, library};
use crate::OpenError;

/// Room for a device's name.
const NAME_BYTES: usize = 256;

/// Proof that the driver is there, new enough, complete and initialised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Driver {
    version: Version,
}

impl Driver {
    /// Loads the driver.
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub(crate) fn load() -> Result<Self, OpenError> {
        library::load().map(|version| Self { version })
    }

    /// The CUDA version that it supports.
    pub(crate) fn version(self) -> Version {
        self.version
    }

    /// How many devices there are.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn num_devices(self) -> Result<usize, DriverError> {
        let mut count = 0;
        // SAFETY: the pointer is valid for the one integer written.
        let code = unsafe { sys::cuDeviceGetCount(&raw mut count) };
        DriverError::check("cuDeviceGetCount", code)?;
        Ok(count.unsigned_abs() as usize)
    }

    /// The device of this ordinal, which is less than the number of devices.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn device(self, ordinal: usize) -> Result<Device, DriverError> {
        let mut id = 0;
        // SAFETY: the pointer is valid for the one integer written; an ordinal out of range is an
        // error.
        let code = unsafe { sys::cuDeviceGet(&raw mut id, ordinal as i32) };
        DriverError::check("cuDeviceGet", code)?;
        Ok(Device { id })
    }
}

/// One device, not opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    id: sys::CUdevice,
}

impl Device {
    /// The driver's name for it.
    pub(super) fn id(self) -> sys::CUdevice {
        self.id
    }

    /// What the maker calls it.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn name(self) -> Result<String, DriverError> {
        let mut name = [0; NAME_BYTES];
        // SAFETY: the buffer has as many bytes as is said, and the driver ends the name in it with
        // a zero.
        let code = unsafe {
            sys::cuDeviceGetName(name.as_mut_ptr().cast::<c_char>(), NAME_BYTES as i32, self.id)
        };
        DriverError::check("cuDeviceGetName", code)?;
        let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }

    /// Bytes of memory.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn total_bytes(self) -> Result<u64, DriverError> {
        let mut bytes = 0;
        // SAFETY: the pointer is valid for the one integer written.
        let code = unsafe { sys::cuDeviceTotalMem_v2(&raw mut bytes, self.id) };
        DriverError::check("cuDeviceTotalMem_v2", code)?;
        Ok(bytes as u64)
    }

    /// Major and minor.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn compute_capability(self) -> Result<(u32, u32), DriverError> {
        let major = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok((major, minor))
    }

    /// Multiprocessors.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn num_sms(self) -> Result<u32, DriverError> {
        self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    }

    /// Most shared memory that a block can ask for.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn max_shared_bytes(self) -> Result<u32, DriverError> {
        self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
    }

    fn attribute(self, attribute: Attribute) -> Result<u32, DriverError> {
        let mut value = 0;
        // SAFETY: the pointer is valid for the one integer written.
        let code = unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, self.id) };
        DriverError::check("cuDeviceGetAttribute", code)?;
        Ok(value.unsigned_abs())
    }
}
