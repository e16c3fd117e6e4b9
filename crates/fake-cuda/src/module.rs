//! Modules: which images load, and what their functions are.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

use ptx_interp::{Loaded, Memory};

use crate::capture::Unsafe;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::handle::Handle;

/// A module in device memory. It lives as long as anything can still launch its kernels, which is
/// longer than the program's handle.
#[derive(Debug)]
pub(crate) struct Image {
    /// Taken only when dropped.
    loaded: Option<Loaded>,
    space: Arc<Memory>,
}

impl Image {
    pub(crate) fn loaded(&self) -> &Loaded {
        self.loaded.as_ref().expect("taken only by drop")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Some(loaded) = self.loaded.take() {
            loaded.unload(&self.space);
        }
    }
}

pub(crate) struct Module {
    pub(crate) image: Arc<Image>,
    /// Handles of the functions that the program has asked for.
    functions: BTreeMap<String, Handle>,
}

pub(crate) struct Function {
    pub(crate) module: Handle,
    pub(crate) image: Arc<Image>,
    pub(crate) name: Arc<str>,
    /// The name as C wants it; its address stays the same.
    pub(crate) c_name: CString,
    /// The most dynamic shared memory that a launch may ask for.
    pub(crate) max_dynamic_shared_bytes: u32,
    /// Whether clusters of more than eight blocks are allowed.
    pub(crate) large_clusters: bool,
}

impl Function {
    pub(crate) fn kernel(&self) -> &ptx_interp::Kernel {
        let module = self.image.loaded().module();
        module.kernel(&self.name).expect("functions are made for kernels that exist")
    }
}

/// Why an image does not load, and what the compiler's log says about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) code: Code,
    pub(crate) log: String,
}

fn reject<T>(code: Code, log: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { code, log: log.into() })
}

/// First bytes of images that are not text: ELF, fat binaries and their wrapper.
const BINARY_MAGIC: [[u8; 4]; 3] =
    [*b"\x7fELF", 0xba55_ed50_u32.to_le_bytes(), 0x4662_43b1_u32.to_le_bytes()];

/// Modules by their text. Programs load the same ones again and again, and a driver keeps what it
/// compiled too.
pub(crate) type Compiled = BTreeMap<String, Arc<ptx_interp::Module>>;

/// Compiles an image: only PTX has code that can run here.
pub(crate) fn compile(
    image: &[u8],
    newest: (u32, u32),
    capability: u32,
    compiled: &mut Compiled,
) -> Result<Arc<ptx_interp::Module>, Rejection> {
    if BINARY_MAGIC.iter().any(|magic| image.starts_with(magic)) {
        return reject(Code::NO_BINARY_FOR_GPU, "the image has machine code; this device runs PTX");
    }
    let Some(text) = std::str::from_utf8(image).ok().filter(|text| version(text).is_some()) else {
        return reject(Code::INVALID_IMAGE, "the image is neither PTX nor a binary");
    };
    let have = version(text).unwrap_or_default();
    if have > newest {
        let ((major, minor), (new_major, new_minor)) = (have, newest);
        return reject(
            Code::UNSUPPORTED_PTX_VERSION,
            format!(
                "ptxas application ptx input, line 1; fatal : unsupported .version \
                 {major}.{minor}; current version is '{new_major}.{new_minor}'"
            ),
        );
    }
    let module = match compiled.get(text) {
        Some(module) => Arc::clone(module),
        None => Arc::new(parse(text)?),
    };
    if !runs_on(module.target(), capability) {
        let target = module.target();
        let log = format!("ptxas fatal : target {target} does not run on sm_{capability}");
        return reject(Code::INVALID_PTX, log);
    }
    compiled.entry(text.to_owned()).or_insert_with(|| Arc::clone(&module));
    Ok(module)
}

fn parse(text: &str) -> Result<ptx_interp::Module, Rejection> {
    ptx_interp::Module::parse(text).or_else(|error| {
        let line = error.line;
        let log = format!("ptxas application ptx input, line {line}; error : {}", error.message);
        reject(Code::INVALID_PTX, log)
    })
}

/// The version that PTX text declares; none for text that is not PTX.
fn version(text: &str) -> Option<(u32, u32)> {
    let directive =
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("//"));
    let (major, minor) = directive?.strip_prefix(".version")?.trim().split_once('.')?;
    let digits = minor.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, digits.parse().ok()?))
}

/// Whether PTX for `target` can be compiled for the device: for an older or the same
/// architecture, and if it is specific to one (`a`), for that one only.
fn runs_on(target: &str, capability: u32) -> bool {
    let Some(name) = target.strip_prefix("sm_") else { return false };
    let specific = name.ends_with('a');
    match name.trim_end_matches(['a', 'f']).parse::<u32>() {
        Ok(number) if specific => number == capability,
        Ok(number) => number <= capability,
        Err(_) => false,
    }
}

impl Driver {
    /// `cuModuleLoadData`.
    pub(crate) fn module_load(&mut self, image: &[u8]) -> Result<Handle, Rejection> {
        if let Err(failure) = self.admit_allocation() {
            return reject(failure.code, failure.why);
        }
        let (newest, capability) = (self.config.newest_ptx(), self.config.compute_capability);
        let module = compile(image, newest, capability, &mut self.compiled)?;
        let space = Arc::clone(self.memory.space());
        let loaded = Loaded::new(module, &space)
            .or_else(|error| reject(Code::OUT_OF_MEMORY, error.to_string()))?;
        let image = Arc::new(Image { loaded: Some(loaded), space });
        Ok(self.modules.insert(Module { image, functions: BTreeMap::new() }))
    }

    /// `cuModuleUnload`: graphs with its kernels still run.
    pub(crate) fn module_unload(&mut self, module: Handle, caller: &Caller) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuModuleUnload"), caller)?;
        self.modules.remove(module)?;
        self.functions.retain(|function| function.module != module);
        Ok(())
    }

    /// `cuModuleGetFunction`.
    pub(crate) fn module_function(&mut self, module: Handle, name: &str) -> Result<Handle> {
        let target = self.modules.get_mut(module)?;
        if let Some(&function) = target.functions.get(name) {
            return Ok(function);
        }
        let Some(kernel) = target.image.loaded().module().kernel(name) else {
            return Code::NOT_FOUND.err(format!("the module has no kernel called {name}"));
        };
        let function = self.functions.insert(Function {
            module,
            image: Arc::clone(&target.image),
            name: name.into(),
            c_name: CString::new(name).map_err(|_| Code::NOT_FOUND)?,
            max_dynamic_shared_bytes: crate::launch::DEFAULT_SHARED
                .saturating_sub(kernel.shared_bytes()),
            large_clusters: false,
        });
        target.functions.insert(name.to_owned(), function);
        Ok(function)
    }

    /// The names of all functions of a module, in the order of its text.
    pub(crate) fn module_function_names(&self, module: Handle) -> Result<Vec<String>> {
        let kernels = self.modules.get(module)?.image.loaded().module().kernels();
        Ok(kernels.map(|kernel| kernel.name().to_owned()).collect())
    }

    /// `cuModuleGetGlobal`: address and size.
    pub(crate) fn module_global(&self, module: Handle, name: &str) -> Result<(u64, u64)> {
        match self.modules.get(module)?.image.loaded().global(name) {
            Some(global) => Ok(global),
            None => Code::NOT_FOUND.err(format!("the module has no variable called {name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_apart() {
        let code =
            |image: &[u8]| compile(image, (9, 0), 90, &mut Compiled::new()).unwrap_err().code;
        assert_eq!(code(b"\x7fELF\x02\x01"), Code::NO_BINARY_FOR_GPU);
        assert_eq!(code(b"hello"), Code::INVALID_IMAGE);
        assert_eq!(code(b""), Code::INVALID_IMAGE);
        assert_eq!(code(b".version 9.1\n.target sm_90\n"), Code::UNSUPPORTED_PTX_VERSION);
        assert_eq!(code(b"// text\n.version 8.0\n.target sm_80\nnonsense"), Code::INVALID_PTX);
    }

    #[test]
    fn targets_run_on_the_chips_that_they_should() {
        let runs = |target| [80, 89, 90, 100].map(|capability| runs_on(target, capability));
        assert_eq!(runs("sm_80"), [true; 4]);
        assert_eq!(runs("sm_90"), [false, false, true, true]);
        assert_eq!(runs("sm_90a"), [false, false, true, false]);
        assert_eq!(runs("compute"), [false; 4]);
    }
}
