//! The library seen from a test: loading it, and its functions beyond the driver API.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fmt, io, ptr};

use crate::library::beside_executable;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;

type SetFn = unsafe extern "C" fn(*const c_char, u64) -> u32;
type GetFn = unsafe extern "C" fn(*const c_char, *mut u64) -> u32;
type ReportFn = unsafe extern "C" fn(*const c_char, *mut u8, usize, *mut usize) -> u32;
type ResetFn = unsafe extern "C" fn() -> u32;

/// The fake driver, loaded into this process in front of any other.
///
/// There is one per process, however often it is loaded, and it is never unloaded.
///
/// ```no_run
/// let driver = fake_cuda::FakeDriver::load()?;
/// driver.set("num_sms", 8)?;
/// // From here on, whatever loads `libcuda.so` gets the fake driver.
/// assert_eq!(driver.get("kernels")?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FakeDriver {
    set: SetFn,
    get: GetFn,
    report: ReportFn,
    reset: ResetFn,
}

/// Why the library refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlError {
    /// The setting, counter or report asked for.
    pub name: String,
    /// The `CUresult`: 500 for an unknown name, 1 for a wrong value, 401 if it is too late.
    pub code: u32,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, code } = self;
        write!(f, "the fake driver refuses `{name}` with code {code}; its README lists the names")
    }
}

impl std::error::Error for ControlError {}

impl FakeDriver {
    /// Loads the library that was built along with this executable.
    ///
    /// # Errors
    /// If it is not there or cannot be loaded.
    pub fn load() -> io::Result<FakeDriver> {
        FakeDriver::load_from(&beside_executable()?)
    }

    /// Loads the library at `path`.
    ///
    /// # Errors
    /// If it cannot be loaded or is not the fake driver.
    pub fn load_from(path: &Path) -> io::Result<FakeDriver> {
        let c_path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a terminated path. Loading runs no code: the library has no constructors.
        let library = unsafe { dlopen(c_path.as_ptr(), RTLD_NOW) };
        if library.is_null() {
            // SAFETY: the call above failed, so there is a message, a C string until the next call.
            let message = unsafe { CStr::from_ptr(dlerror()) }.to_string_lossy().into_owned();
            return Err(io::Error::other(message));
        }
        let find = |name: &CStr| {
            // SAFETY: a library that `dlopen` returned, which is never closed, and a terminated
            // name.
            let address = unsafe { dlsym(library, name.as_ptr()) };
            if address.is_null() {
                let text = format!("{} is not the fake driver: no {name:?}", path.display());
                return Err(io::Error::other(text));
            }
            Ok(address)
        };
        // SAFETY: each address is that of the function of this name in the library, which the same
        // crate defines with these arguments.
        unsafe {
            Ok(FakeDriver {
                set: std::mem::transmute::<*mut c_void, SetFn>(find(c"fakeCudaSet")?),
                get: std::mem::transmute::<*mut c_void, GetFn>(find(c"fakeCudaGet")?),
                report: std::mem::transmute::<*mut c_void, ReportFn>(find(c"fakeCudaReport")?),
                reset: std::mem::transmute::<*mut c_void, ResetFn>(find(c"fakeCudaReset")?),
            })
        }
    }

    /// Changes a setting. Those that shape the device can change before `cuInit` only, or after
    /// [`FakeDriver::reset`].
    ///
    /// # Errors
    /// For an unknown name, a value out of range, or a setting that is fixed by now.
    pub fn set(&self, name: &str, value: u64) -> Result<(), ControlError> {
        with_name(name, |c_name| {
            // SAFETY: a terminated name that outlives the call.
            unsafe { (self.set)(c_name, value) }
        })
    }

    /// A counter: `calls`, `kernels`, `distinct_kernels`, `allocations`, `launches`,
    /// `warp_instructions`, `living`, `leaks`, or the name of a driver function.
    ///
    /// # Errors
    /// For an unknown name.
    pub fn get(&self, name: &str) -> Result<u64, ControlError> {
        let mut value = 0;
        with_name(name, |c_name| {
            // SAFETY: as for `set`; the counter goes to a local variable.
            unsafe { (self.get)(c_name, &mut value) }
        })?;
        Ok(value)
    }

    /// A report, a line for each item: `fault`, `failure` (the last call that failed, with the
    /// reason), `living`, `leaks`, `calls`, `kernels`.
    ///
    /// # Errors
    /// For an unknown name.
    pub fn report(&self, name: &str) -> Result<String, ControlError> {
        let mut needed = 0;
        with_name(name, |c_name| {
            // SAFETY: as for `get`; without a buffer, only the size is returned.
            unsafe { (self.report)(c_name, ptr::null_mut(), 0, &mut needed) }
        })?;
        // Another thread may make it longer before the second call, which then cuts it.
        let mut buffer = vec![0; needed];
        with_name(name, |c_name| {
            // SAFETY: as above, with a buffer of the size that is passed along.
            unsafe { (self.report)(c_name, buffer.as_mut_ptr(), needed, ptr::null_mut()) }
        })?;
        let text = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
        Ok(text.to_string_lossy().into_owned())
    }

    /// Forgets settings, faults and objects: the next `cuInit` starts anew, with the settings of
    /// the environment. Handles from before are invalid; counters go on.
    pub fn reset(&self) {
        // SAFETY: the function takes nothing and locks the library's state.
        unsafe { (self.reset)() };
    }
}

fn with_name(name: &str, call: impl FnOnce(*const c_char) -> u32) -> Result<(), ControlError> {
    // A name with a zero byte in it is unknown.
    let code = CString::new(name).map_or(500, |c_name| call(c_name.as_ptr()));
    if code == 0 { Ok(()) } else { Err(ControlError { name: name.to_owned(), code }) }
}
