//! Which devices there are, and opening one.

use std::sync::Arc;

use crate::driver::{Context, Device, Driver, Version};
use crate::launch::Chip;
use crate::{OpenError, driver};

/// The least compute capability that the kernels run on.
const MIN_COMPUTE_CAPABILITY: (u32, u32) = (8, 0);

/// Name and value of each variable that makes a process faster which has it in its environment when
/// it starts.
///
/// - With one connection a context takes half as long, and copies from several threads are faster.
/// - The driver keeps 6 KB on the C heap for each kernel of a graph. To touch them for the first
///   time takes as long as the rest of instantiating it, in pages of 4 KB, and little in huge ones.
pub const RECOMMENDED_ENVIRONMENT: [(&str, &str); 2] =
    [("CUDA_DEVICE_MAX_CONNECTIONS", "1"), ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")];

/// What a device is, without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSummary {
    /// What [`crate::CudaStream::open`] takes.
    pub ordinal: usize,
    /// What its maker calls it.
    pub name: String,
    /// Major and minor.
    pub compute_capability: (u32, u32),
    /// Multiprocessors.
    pub num_sms: u32,
    /// Bytes of memory.
    pub total_bytes: u64,
    /// CUDA version that its driver supports.
    pub driver: Version,
}

impl DeviceSummary {
    fn new(driver: Driver, ordinal: usize) -> Result<Self, driver::DriverError> {
        let device = driver.device(ordinal)?;
        Ok(Self {
            ordinal,
            name: device.name()?,
            compute_capability: device.compute_capability()?,
            num_sms: device.num_sms()?,
            total_bytes: device.total_bytes()?,
            driver: driver.version(),
        })
    }
}

/// For people: `cuda:0 (NVIDIA H200, sm_90, 132 SMs)`.
impl std::fmt::Display for DeviceSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ordinal, name, compute_capability: (major, minor), num_sms, .. } = self;
        write!(f, "cuda:{ordinal} ({name}, sm_{major}{minor}, {num_sms} SMs)")
    }
}

/// Every device that the driver finds, those too old to use included. Opens none of them.
///
/// # Errors
/// When there is no driver that can be used, or no device.
pub fn devices() -> Result<Vec<DeviceSummary>, OpenError> {
    let driver = Driver::load()?;
    let num_devices = num_devices(driver)?;
    Ok((0..num_devices)
        .map(|ordinal| DeviceSummary::new(driver, ordinal))
        .collect::<Result<_, _>>()?)
}

/// A device whose context is open and current.
pub(crate) struct OpenDevice {
    pub(crate) summary: DeviceSummary,
    pub(crate) chip: Chip,
    pub(crate) context: Arc<Context>,
}

impl OpenDevice {
    /// Opens the device of this ordinal.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn open(ordinal: usize) -> Result<Self, OpenError> {
        let driver = Driver::load()?;
        let num_devices = num_devices(driver)?;
        if ordinal >= num_devices {
            return Err(OpenError::NoSuchDevice { ordinal, num_devices });
        }
        let summary = DeviceSummary::new(driver, ordinal)?;
        let device = driver.device(ordinal)?;
        let chip = chip(device, &summary)?;
        let context = Context::retain(&device).map_err(OpenError::making("a context", None))?;
        Ok(Self { summary, chip, context })
    }
}

fn num_devices(driver: Driver) -> Result<usize, OpenError> {
    match driver.num_devices()? {
        0 => Err(OpenError::NoDevice),
        num_devices => Ok(num_devices),
    }
}

fn chip(device: Device, summary: &DeviceSummary) -> Result<Chip, OpenError> {
    let have = summary.compute_capability;
    if have < MIN_COMPUTE_CAPABILITY {
        let (name, need) = (summary.name.clone(), MIN_COMPUTE_CAPABILITY);
        return Err(OpenError::DeviceTooOld { name, have, need });
    }
    Ok(Chip {
        compute_capability: have,
        num_sms: summary.num_sms,
        max_shared_bytes: device.max_shared_bytes()?,
        // A kernel tells, once it is loaded.
        clusters_of_4: 0,
    })
}
