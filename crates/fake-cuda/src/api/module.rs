//! Modules and libraries, which are one thing here: a library's handle is its module's.

use std::ffi::c_char;

use crate::driver::Driver;
use crate::error::{Failure, Result};
use crate::ffi::{In, Out, set_text};
use crate::handle::Handle;
use crate::module::Rejection;

/// `CUjit_option`s that name a log buffer and its size; the size also returns what was written.
const ERROR_LOG: u32 = 5;
const ERROR_LOG_BYTES: u32 = 6;
const INFO_LOG_BYTES: u32 = 4;

/// `CU_MODULE_EAGER_LOADING`.
const EAGER_LOADING: u32 = 1;

exports! {
    Context cuModuleLoadData(module: Out<Handle>, image: In<c_char>) |driver, _| {
        module.set(load(driver, image, JitOptions::default())?)
    };
    Context cuModuleLoadDataEx(
        module: Out<Handle>,
        image: In<c_char>,
        count: u32,
        options: In<u32>,
        values: Out<usize>,
    ) |driver, _| {
        module.set(load(driver, image, JitOptions::new(count, options, values)?)?)
    };
    Context cuModuleLoadFatBinary(module: Out<Handle>, image: In<c_char>) |driver, _| {
        module.set(load(driver, image, JitOptions::default())?)
    };
    Context cuModuleUnload(module: Handle) |driver, caller| driver.module_unload(module, caller);
    Context cuModuleGetFunction(function: Out<Handle>, module: Handle, name: In<c_char>)
        |driver, _| function.set(driver.module_function(module, &name.name()?)?);
    Context cuModuleGetFunctionCount(count: Out<u32>, module: Handle) |driver, _| {
        count.set(driver.module_function_names(module)?.len() as u32)
    };
    Context cuModuleEnumerateFunctions(functions: Out<Handle>, count: u32, module: Handle)
        |driver, _| functions.set_all(all_functions(driver, module, count)?);
    Context cuModuleGetGlobal_v2(
        address: Out<u64>,
        bytes: Out<usize>,
        module: Handle,
        name: In<c_char>,
    ) |driver, _| {
        let (start, len) = driver.module_global(module, &name.name()?)?;
        address.set_if_wanted(start);
        bytes.set_if_wanted(len as usize);
        Ok(())
    };
    Init cuModuleGetLoadingMode(mode: Out<u32>) |_, _| mode.set(EAGER_LOADING);

    Context cuLibraryLoadData(
        library: Out<Handle>,
        image: In<c_char>,
        options: In<u32>,
        values: Out<usize>,
        count: u32,
        _library_options: usize,
        _library_values: usize,
        _num_library_options: u32,
    ) |driver, _| {
        library.set(load(driver, image, JitOptions::new(count, options, values)?)?)
    };
    Context cuLibraryUnload(library: Handle) |driver, caller| driver.module_unload(library, caller);
    Context cuLibraryGetModule(module: Out<Handle>, library: Handle) |driver, _| {
        driver.modules.get(library)?;
        module.set(library)
    };
    Context cuLibraryGetKernel(kernel: Out<Handle>, library: Handle, name: In<c_char>)
        |driver, _| kernel.set(driver.module_function(library, &name.name()?)?);
    Context cuKernelGetFunction(function: Out<Handle>, kernel: Handle) |driver, _| {
        driver.functions.get(kernel)?;
        function.set(kernel)
    };
}

fn all_functions(driver: &mut Driver, module: Handle, most: u32) -> Result<Vec<Handle>> {
    let names = driver.module_function_names(module)?;
    names.iter().take(most as usize).map(|name| driver.module_function(module, name)).collect()
}

/// The options of a compilation that are honoured: the logs.
#[derive(Default)]
struct JitOptions {
    error_log: Option<(Out<u8>, usize)>,
    /// Where the lengths of the logs go: the slots of the options' values.
    error_len: Option<Out<usize>>,
    info_len: Option<Out<usize>>,
}

impl JitOptions {
    fn new(count: u32, options: In<u32>, values: Out<usize>) -> Result<JitOptions> {
        let (mut parsed, mut buffer, mut bytes) = (JitOptions::default(), None, 0);
        for (index, option) in options.get_all(count as usize)?.into_iter().enumerate() {
            let slot = values.at(index);
            match option {
                ERROR_LOG => buffer = Some(Out::at_address(slot.get()?)),
                ERROR_LOG_BYTES => {
                    // The value is the size itself, in the place of a pointer; only its low half
                    // is meant.
                    bytes = slot.get()? as u32 as usize;
                    parsed.error_len = Some(slot);
                }
                INFO_LOG_BYTES => parsed.info_len = Some(slot),
                _ => {}
            }
        }
        parsed.error_log = buffer.map(|buffer| (buffer, bytes));
        Ok(parsed)
    }

    fn write(&self, log: &str) -> Result<()> {
        self.info_len.iter().try_for_each(|slot| slot.set(0))?;
        let Some((buffer, bytes)) = self.error_log.filter(|&(_, bytes)| bytes > 0) else {
            return Ok(());
        };
        set_text(buffer, bytes, log)?;
        self.error_len.iter().try_for_each(|slot| slot.set(log.len().min(bytes - 1)))
    }
}

fn load(driver: &mut Driver, image: In<c_char>, options: JitOptions) -> Result<Handle> {
    match driver.module_load(&image.text()?) {
        Ok(module) => {
            options.write("")?;
            Ok(module)
        }
        Err(Rejection { code, log }) => {
            options.write(&log)?;
            Err(Failure { code, why: log.into() })
        }
    }
}
