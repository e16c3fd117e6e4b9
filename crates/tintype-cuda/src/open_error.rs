//! Why a device cannot be used.

use crate::driver::{DriverError, LoadError, Version};

/// Why there is no CUDA device to use. A message says what was found, what is needed and the way
/// out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.reason(), self.fix())]
#[non_exhaustive]
pub enum OpenError {
    /// No driver library was found.
    NoDriver,
    /// The driver is there and cannot start, e.g. a stub that was made to link against.
    DriverFailed {
        /// The call that failed and what it returned.
        what: String,
    },
    /// The driver knows no device.
    NoDevice,
    /// The driver is older than the kernels.
    DriverTooOld {
        /// CUDA version of the driver.
        have: Version,
        /// CUDA version that the kernels need.
        need: Version,
    },
    /// The driver lacks a function.
    MissingSymbol {
        /// The function.
        symbol: &'static str,
        /// CUDA version of the driver, if it could be asked.
        version: Option<Version>,
    },
    /// There are devices, but none of this ordinal.
    NoSuchDevice {
        /// What was asked for.
        ordinal: usize,
        /// How many there are.
        num_devices: usize,
    },
    /// The device is older than the kernels.
    DeviceTooOld {
        /// Its name.
        name: String,
        /// Its compute capability.
        have: (u32, u32),
        /// The least that is needed.
        need: (u32, u32),
    },
    /// The device has no room for what every run needs.
    OutOfMemory {
        /// What did not fit.
        what: String,
        /// Bytes that were free, if they could be asked for.
        free_bytes: Option<u64>,
    },
    /// The host has too little memory that can be locked, which the device copies from and to.
    OutOfHostMemory {
        /// What did not fit.
        what: String,
    },
    /// The kernels do not load.
    Kernels {
        /// Which, and why, with what the driver's compiler said.
        what: String,
    },
    /// Something else that the driver refused.
    Driver {
        /// The call that failed and what it returned.
        what: String,
    },
}

impl OpenError {
    /// What was found, and what is needed.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::NoDriver => "no CUDA driver: the system has no libcuda.so".into(),
            Self::DriverFailed { what } => format!("the CUDA driver does not start: {what}"),
            Self::NoDevice => "the CUDA driver finds no device".into(),
            Self::DriverTooOld { have, need } => {
                format!("the driver supports CUDA {have}, the kernels need {need}")
            }
            Self::MissingSymbol { symbol, version } => {
                let version =
                    version.map_or(String::new(), |version| format!(" for CUDA {version}"));
                format!("the driver{version} lacks the function {symbol}")
            }
            Self::NoSuchDevice { ordinal, num_devices } => {
                format!("there is no device {ordinal}: the driver finds {num_devices}, from 0 on")
            }
            Self::DeviceTooOld { name, have, need } => format!(
                "{name} has compute capability {}.{}, the kernels need {}.{}",
                have.0, have.1, need.0, need.1
            ),
            Self::OutOfMemory { what, free_bytes } => {
                let free = free_bytes
                    .map_or(String::new(), |free| format!(", {} MiB are free", free >> 20));
                format!("too little device memory for {what}{free}")
            }
            Self::OutOfHostMemory { what } => {
                format!("the system has too little memory that can be locked, for {what}")
            }
            Self::Kernels { what } => format!("the kernels do not load: {what}"),
            Self::Driver { what } => what.clone(),
        }
    }

    /// The way out.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NoDriver => "install the NVIDIA driver, or use the CPU",
            Self::DriverFailed { .. } => {
                "check that nvidia-smi works and that no stub libcuda.so is in front of the \
                 driver's, or use the CPU"
            }
            Self::NoDevice => {
                "check nvidia-smi, CUDA_VISIBLE_DEVICES and the container's access to the \
                 device, or use the CPU"
            }
            Self::DriverTooOld { .. } => "install a newer NVIDIA driver, or use the CPU",
            Self::MissingSymbol { .. } => {
                "reinstall the NVIDIA driver so that all its parts have one version, or use the CPU"
            }
            Self::NoSuchDevice { .. } => "choose another ordinal",
            Self::DeviceTooOld { .. } => "use a newer device, or the CPU",
            Self::OutOfMemory { .. } => "close other programs that use the device, or use the CPU",
            Self::OutOfHostMemory { .. } => {
                "close other programs, or raise the limit on locked memory (ulimit -l, or the \
                 container's memory), or use the CPU"
            }
            Self::Kernels { .. } => "rebuild them with cargo xtask build-kernels, or use the CPU",
            Self::Driver { .. } => "check that nvidia-smi works, or use the CPU",
        }
    }

    /// What the first calls of all answered.
    pub(crate) fn from_init(error: DriverError) -> Self {
        use cudarc::driver::sys::CUresult::CUDA_ERROR_NO_DEVICE;
        match error.code {
            CUDA_ERROR_NO_DEVICE => Self::NoDevice,
            _ => Self::DriverFailed { what: error.to_string() },
        }
    }

    /// What a call that makes `what` answered.
    pub(crate) fn making(what: &str, free_bytes: Option<u64>) -> impl FnOnce(DriverError) -> Self {
        move |error| match error {
            error if error.is_out_of_memory() => {
                Self::OutOfMemory { what: what.into(), free_bytes }
            }
            error if error.is_out_of_host_memory() => Self::OutOfHostMemory { what: what.into() },
            error => Self::Driver { what: format!("making {what}: {error}") },
        }
    }

    /// What loading the module `name` answered.
    pub(crate) fn loading(name: &str) -> impl FnOnce(LoadError) -> Self {
        move |error| match error.source.is_out_of_memory() {
            true => Self::OutOfMemory { what: "the kernels".into(), free_bytes: None },
            false => Self::Kernels { what: format!("{name}: {error}") },
        }
    }
}

impl From<DriverError> for OpenError {
    fn from(error: DriverError) -> Self {
        Self::Driver { what: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use cudarc::driver::sys::CUresult;

    use super::*;

    fn driver_error(code: CUresult) -> DriverError {
        DriverError { call: "cuInit", code }
    }

    #[test]
    fn a_message_says_what_was_found_what_is_needed_and_the_way_out() {
        let (have, need) = (Version { major: 12, minor: 4 }, Version { major: 13, minor: 0 });
        assert_eq!(
            OpenError::DriverTooOld { have, need }.to_string(),
            "the driver supports CUDA 12.4, the kernels need 13.0; install a newer NVIDIA driver, \
             or use the CPU"
        );
        let old = OpenError::DeviceTooOld { name: "Tesla T4".into(), have: (7, 5), need: (8, 0) };
        assert_eq!(old.reason(), "Tesla T4 has compute capability 7.5, the kernels need 8.0");
        let missing = OpenError::MissingSymbol { symbol: "cuGraphUpload", version: Some(have) };
        assert_eq!(missing.reason(), "the driver for CUDA 12.4 lacks the function cuGraphUpload");
        let beyond = OpenError::NoSuchDevice { ordinal: 3, num_devices: 1 };
        assert_eq!(beyond.reason(), "there is no device 3: the driver finds 1, from 0 on");
    }

    #[test]
    fn a_driver_without_a_device_is_no_failing_driver() {
        let no_device = OpenError::from_init(driver_error(CUresult::CUDA_ERROR_NO_DEVICE));
        assert_eq!(no_device, OpenError::NoDevice);
        let stub = OpenError::from_init(driver_error(CUresult::CUDA_ERROR_STUB_LIBRARY));
        let expected = "the CUDA driver does not start: cuInit returned \
                        CUDA_ERROR_STUB_LIBRARY (34)";
        assert_eq!(stub.reason(), expected);
    }

    #[test]
    fn no_room_is_told_from_a_refusal() {
        let making = |code| OpenError::making("a stream", Some(3 << 20))(driver_error(code));
        let full = making(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        assert_eq!(full.reason(), "too little device memory for a stream, 3 MiB are free");
        let refused = making(CUresult::CUDA_ERROR_INVALID_VALUE);
        let expected = "making a stream: cuInit returned CUDA_ERROR_INVALID_VALUE (1)";
        assert_eq!(refused.reason(), expected);
    }

    /// The driver has one code for both.
    #[test]
    fn no_room_on_the_host_is_told_from_no_room_on_the_device() {
        let code = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        let error = DriverError { call: "cuMemHostAlloc", code };
        let error = OpenError::making("the staging buffer", Some(3 << 20))(error);
        assert_eq!(error, OpenError::OutOfHostMemory { what: "the staging buffer".into() });
        assert!(error.fix().contains("ulimit -l"), "{error}");
    }

    #[test]
    fn a_module_that_does_not_load_comes_with_the_compilers_words() {
        let source = driver_error(CUresult::CUDA_ERROR_INVALID_PTX);
        let error = OpenError::loading("norm")(LoadError { source, log: "line 7: what?".into() });
        let expected = "the kernels do not load: norm: cuInit returned CUDA_ERROR_INVALID_PTX \
                        (218)\nline 7: what?";
        assert_eq!(error.reason(), expected);
    }
}
