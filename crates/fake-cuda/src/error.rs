//! The driver's result codes, and a failed call with the reason that the driver itself never gives.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;

/// A result code of the driver API: what C calls `CUresult`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Code(pub(crate) u32);

/// Declares the codes, their names and what `cuGetErrorString` says about them.
macro_rules! codes {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl Code {
            $(
                #[allow(dead_code, reason = "some have only a name to be asked for")]
                pub(crate) const $name: Code = Code($value);
            )*

            fn entry(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($value => Some((
                        concat!("CUDA_ERROR_", stringify!($name), "\0"),
                        concat!($text, "\0"),
                    )),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    SUCCESS = 0, "no error";
    INVALID_VALUE = 1, "an argument is invalid";
    OUT_OF_MEMORY = 2, "not enough memory";
    NOT_INITIALIZED = 3, "cuInit has not been called";
    DEINITIALIZED = 4, "the driver is shutting down";
    STUB_LIBRARY = 34, "the library is a stub without a driver behind it";
    DEVICE_UNAVAILABLE = 46, "the device is not available";
    NO_DEVICE = 100, "there is no CUDA device";
    INVALID_DEVICE = 101, "no such device";
    INVALID_IMAGE = 200, "the image is not a module";
    INVALID_CONTEXT = 201, "no context is current";
    NO_BINARY_FOR_GPU = 209, "the image has no code for this device";
    ECC_UNCORRECTABLE = 214, "uncorrectable memory error";
    UNSUPPORTED_LIMIT = 215, "the device has no such limit";
    INVALID_PTX = 218, "PTX did not compile";
    UNSUPPORTED_PTX_VERSION = 222, "PTX is newer than the driver";
    FILE_NOT_FOUND = 301, "file not found";
    OPERATING_SYSTEM = 304, "the operating system refused a call";
    INVALID_HANDLE = 400, "the handle is invalid";
    ILLEGAL_STATE = 401, "not possible in this state";
    NOT_FOUND = 500, "name not found";
    NOT_READY = 600, "work is still outstanding";
    ILLEGAL_ADDRESS = 700, "a kernel used an address that is not mapped";
    LAUNCH_OUT_OF_RESOURCES = 701, "a launch needs more than the device has";
    CONTEXT_IS_DESTROYED = 709, "the current context is destroyed";
    HOST_MEMORY_ALREADY_REGISTERED = 712, "the host memory is registered already";
    HOST_MEMORY_NOT_REGISTERED = 713, "the host memory is not registered";
    ILLEGAL_INSTRUCTION = 715, "a kernel reached an illegal instruction";
    MISALIGNED_ADDRESS = 716, "a kernel used a misaligned address";
    LAUNCH_FAILED = 719, "a kernel failed";
    COOPERATIVE_LAUNCH_TOO_LARGE = 720, "a cooperative launch does not fit at once";
    NOT_PERMITTED = 800, "not permitted here";
    NOT_SUPPORTED = 801, "not supported";
    SYSTEM_DRIVER_MISMATCH = 803, "library and kernel driver differ in version";
    STREAM_CAPTURE_UNSUPPORTED = 900, "not possible while a stream is capturing";
    STREAM_CAPTURE_INVALIDATED = 901, "the capture was invalidated by an earlier error";
    STREAM_CAPTURE_MERGE = 902, "two captures would be merged";
    STREAM_CAPTURE_UNMATCHED = 903, "the capture did not begin on this stream";
    STREAM_CAPTURE_UNJOINED = 904, "a forked stream was not joined";
    STREAM_CAPTURE_ISOLATION = 905, "the capture would depend on work outside it";
    STREAM_CAPTURE_IMPLICIT = 906, "the legacy stream would depend on a capture";
    CAPTURED_EVENT = 907, "the event was recorded in a capture";
    STREAM_CAPTURE_WRONG_THREAD = 908, "the capture belongs to another thread";
    GRAPH_EXEC_UPDATE_FAILURE = 910, "the graph is too different for an update";
    INVALID_CLUSTER_SIZE = 912, "the cluster is too large";
    UNKNOWN = 999, "unknown error";
}

impl Code {
    /// The identifier in `cuda.h`; none for a number that no code has.
    pub(crate) fn name(self) -> Option<&'static CStr> {
        if self == Code::SUCCESS {
            return Some(c"CUDA_SUCCESS");
        }
        CStr::from_bytes_with_nul(self.entry()?.0.as_bytes()).ok()
    }

    /// What the code means, in a few words.
    pub(crate) fn text(self) -> Option<&'static CStr> {
        CStr::from_bytes_with_nul(self.entry()?.1.as_bytes()).ok()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name().map_or("?", |name| name.to_str().unwrap_or("?"));
        write!(f, "{} {name}", self.0)
    }
}

/// Why a call failed: the code that the program sees, and the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) why: Cow<'static, str>,
}

/// What every operation of the driver returns.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Failure { code, why: Cow::Borrowed("") }
    }
}

impl Code {
    /// A failure with this code, and the reason for it.
    pub(crate) fn because(self, why: impl Into<Cow<'static, str>>) -> Failure {
        Failure { code: self, why: why.into() }
    }

    /// The same, ready to be returned.
    pub(crate) fn err<T>(self, why: impl Into<Cow<'static, str>>) -> Result<T> {
        Err(self.because(why))
    }
}
