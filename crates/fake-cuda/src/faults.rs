//! Faults of the device: what a kernel's fault becomes, and that it stays.

use ptx_interp::FaultKind;

use crate::control::say;
use crate::driver::Driver;
use crate::error::Code;

/// What went wrong on the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Fault {
    /// The fault of a kernel, with the interpreter's finding in the message.
    pub(crate) fn of_kernel(fault: &ptx_interp::Fault) -> Fault {
        Fault { code: code_of(fault.kind()), message: fault.to_string() }
    }

    /// An injected fault of the kernel called `kernel`.
    pub(crate) fn injected(kernel: &str) -> Fault {
        Fault { code: Code::LAUNCH_FAILED, message: format!("{kernel}: injected fault") }
    }

    /// A copy, fill or other access of the device to memory that is not there.
    pub(crate) fn of_access(message: String) -> Fault {
        Fault { code: Code::ILLEGAL_ADDRESS, message }
    }

    pub(crate) fn lost() -> Fault {
        Fault { code: Code::DEVICE_UNAVAILABLE, message: "injected loss of the device".to_owned() }
    }
}

/// The code under which a GPU would report `kind`. What a GPU does not check is a failed launch.
fn code_of(kind: FaultKind) -> Code {
    match kind {
        FaultKind::OutOfBounds | FaultKind::UseAfterFree => Code::ILLEGAL_ADDRESS,
        FaultKind::Misaligned => Code::MISALIGNED_ADDRESS,
        _ => Code::LAUNCH_FAILED,
    }
}

impl Driver {
    /// Puts the device out of action. The first fault is the one that is reported.
    pub(crate) fn fail(&mut self, fault: Fault) {
        if self.fault.is_none() {
            say(&format!("{:?}: {}", fault.code, fault.message));
            self.fault = Some(fault);
        }
    }
}
