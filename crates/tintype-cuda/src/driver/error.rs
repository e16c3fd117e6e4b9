//! What a driver call answered.

use cudarc::driver::sys::CUresult;

/// The one call that allocates on the host.
const HOST_ALLOC: &str = "cuMemHostAlloc";

/// A driver call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} returned {code:?} ({}){}", *.code as u32, self.advice())]
pub(crate) struct DriverError {
    /// The function.
    pub(crate) call: &'static str,
    /// What it returned.
    pub(crate) code: CUresult,
}

impl DriverError {
    /// Turns what `call` returned into a result.
    pub(crate) fn check(call: &'static str, code: CUresult) -> Result<(), Self> {
        match code {
            CUresult::CUDA_SUCCESS => Ok(()),
            code => Err(Self { call, code }),
        }
    }

    /// Whether the device had no room.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_OUT_OF_MEMORY && self.call != HOST_ALLOC
    }

    /// Whether the host had no memory that could be locked, which has the same code.
    pub(crate) fn is_out_of_host_memory(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_OUT_OF_MEMORY && self.call == HOST_ALLOC
    }

    /// Whether an image has no code for the device.
    pub(crate) fn is_other_machine(&self) -> bool {
        self.code == CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
    }

    /// Whether the device can do nothing more in this process.
    pub(crate) fn is_fault(&self) -> bool {
        is_fault(self.code)
    }

    fn advice(&self) -> &'static str {
        match (self.call, self.code) {
            (_, code) if is_fault(code) => {
                ": the device faulted and runs nothing more for this process; start it again"
            }
            (HOST_ALLOC, CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                ": the system has no memory that can be locked; close other programs, or raise \
                 the limit (ulimit -l)"
            }
            (_, CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                ": out of device memory; close other programs that use the device, or ask for less"
            }
            _ => "",
        }
    }
}

impl From<DriverError> for tintype_ops::Error {
    fn from(error: DriverError) -> Self {
        Self::Device(error.to_string())
    }
}

/// The codes after which the driver answers every call with the same code, until the process ends.
fn is_fault(code: CUresult) -> bool {
    use CUresult::*;
    matches!(
        code,
        CUDA_ERROR_ILLEGAL_ADDRESS
            | CUDA_ERROR_MISALIGNED_ADDRESS
            | CUDA_ERROR_LAUNCH_FAILED
            | CUDA_ERROR_LAUNCH_TIMEOUT
            | CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUDA_ERROR_INVALID_PC
            | CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUDA_ERROR_ASSERT
            | CUDA_ERROR_ECC_UNCORRECTABLE
            | CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUDA_ERROR_DEVICE_UNAVAILABLE
            | CUDA_ERROR_UNKNOWN
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_no_error() {
        assert_eq!(DriverError::check("cuInit", CUresult::CUDA_SUCCESS), Ok(()));
    }

    #[test]
    fn a_message_names_the_call_the_code_and_the_way_out() {
        let fault = DriverError::check("cuStreamSynchronize", CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        let fault = fault.unwrap_err();
        assert!(fault.is_fault());
        assert_eq!(
            fault.to_string(),
            "cuStreamSynchronize returned CUDA_ERROR_ILLEGAL_ADDRESS (700): the device faulted \
             and runs nothing more for this process; start it again"
        );
        let other = DriverError { call: "cuMemFree_v2", code: CUresult::CUDA_ERROR_INVALID_VALUE };
        assert!(!other.is_fault());
        assert_eq!(other.to_string(), "cuMemFree_v2 returned CUDA_ERROR_INVALID_VALUE (1)");
    }
}
