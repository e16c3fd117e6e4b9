//! The driver library: whether it is there, how old it is, and whether it has what is called.

#![allow(unsafe_code)]

use std::fmt;

use cudarc::driver::sys;

use super::DriverError;
use crate::OpenError;

/// A CUDA version that a driver supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the dot.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The first driver that takes the PTX version of the kernels, 9.0.
const MIN_DRIVER: Version = Version { major: 13, minor: 0 };

/// Called before the version is known.
const FIRST: [&str; 2] = ["cuDriverGetVersion", "cuInit"];

/// Every other function that is called.
const SYMBOLS: [&str; 44] = [
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuFuncGetParamInfo",
    "cuFuncSetAttribute",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphGetNodes",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphNodeGetType",
    "cuGraphUpload",
    "cuLaunchKernelEx",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemHostGetDevicePointer_v2",
    "cuMemcpy2DAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuOccupancyMaxActiveClusters",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// Finds the library, asks its version, looks for every symbol, and initialises it.
///
/// # Errors
/// The first of these that fails.
pub(super) fn load() -> Result<Version, OpenError> {
    // SAFETY: opening a library runs its initialisers; that of a driver library, found where the
    // system looks for it, is trusted as the system trusts it.
    if !unsafe { sys::is_culib_present() } {
        return Err(OpenError::NoDriver);
    }
    require(&FIRST, None, has)?;
    let have = version().map_err(OpenError::from_init)?;
    if have < MIN_DRIVER {
        return Err(OpenError::DriverTooOld { have, need: MIN_DRIVER });
    }
    require(&SYMBOLS, Some(have), has)?;
    // SAFETY: the symbol is there, and 0 is the only value that its argument may have.
    let code = unsafe { sys::cuInit(0) };
    DriverError::check("cuInit", code).map_err(OpenError::from_init)?;
    Ok(have)
}

fn version() -> Result<Version, DriverError> {
    let mut version = 0;
    // SAFETY: the symbol is there, and the pointer is valid for the one integer written.
    let code = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    DriverError::check("cuDriverGetVersion", code)?;
    let version = version.unsigned_abs();
    Ok(Version { major: version / 1000, minor: version % 1000 / 10 })
}

fn require(
    symbols: &[&'static str],
    version: Option<Version>,
    has: impl Fn(&str) -> bool,
) -> Result<(), OpenError> {
    let missing = symbols.iter().find(|symbol| !has(symbol));
    missing.map_or(Ok(()), |symbol| Err(OpenError::MissingSymbol { symbol, version }))
}

fn has(symbol: &str) -> bool {
    // SAFETY: the library is there, or `load` would have returned. The address is looked up and
    // never used, so its type does not matter.
    unsafe { sys::culib().get::<unsafe extern "C" fn()>(symbol.as_bytes()).is_ok() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The functions that the files beside this one call.
    fn called() -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/driver");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let sources = files.map(|file| std::fs::read_to_string(file).unwrap());
        sources.flat_map(|source| calls(&source)).collect()
    }

    /// Names that begin with `cu` and a capital, and that an opening parenthesis follows.
    fn calls(source: &str) -> Vec<String> {
        let names = source.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '(');
        let calls = names.flat_map(|name| name.split_inclusive('('));
        let calls = calls.filter_map(|name| name.strip_suffix('('));
        let of_driver = |name: &&str| {
            let rest = name.strip_prefix("cu").unwrap_or_default();
            rest.starts_with(char::is_uppercase)
        };
        calls.filter(of_driver).map(str::to_owned).collect()
    }

    #[test]
    fn every_function_that_is_called_is_looked_for_first() {
        let looked_for = FIRST.iter().chain(&SYMBOLS).map(|&name| name.to_owned());
        assert_eq!(called(), looked_for.collect());
    }

    #[test]
    fn the_first_function_that_is_missing_is_named() {
        let version = Some(MIN_DRIVER);
        assert_eq!(require(&SYMBOLS, version, |_| true), Ok(()));
        let error = require(&SYMBOLS, version, |symbol| symbol < "cuGraph").unwrap_err();
        let found = OpenError::MissingSymbol { symbol: "cuGraphDestroy", version };
        assert_eq!(error, found);
    }

    /// The PTX that is built in asks for no newer driver than the probe does.
    #[test]
    fn the_kernels_load_on_the_oldest_driver_that_is_accepted() {
        for image in [(8, 0), (9, 0)].into_iter().flat_map(tintype_kernels::images).flatten() {
            let version = image.ptx.lines().find_map(|line| line.strip_prefix(".version "));
            assert!(matches!(version, Some("9.0" | "8.8" | "8.7")), "{}: {version:?}", image.name);
        }
    }
}
