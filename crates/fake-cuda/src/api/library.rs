//! Initialisation, versions, names of errors, addresses of functions.

use std::ffi::c_char;

use crate::error::{Code, Result};
use crate::ffi::{In, Out, address_of};

/// `CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND`.
const SYMBOL_NOT_FOUND: u32 = 1;

exports! {
    Nothing cuInit(flags: u32) |driver, _| driver.init(flags);
    Nothing cuDriverGetVersion(version: Out<u32>) |driver, _| {
        driver.prepare()?;
        version.set(driver.config.driver_version)
    };
    Nothing cuGetErrorName(code: u32, name: Out<usize>) |_, _| describe(Code(code).name(), name);
    Nothing cuGetErrorString(code: u32, text: Out<usize>) |_, _| describe(Code(code).text(), text);
    Nothing cuGetProcAddress_v2(
        name: In<c_char>,
        address: Out<usize>,
        _version: i32,
        _flags: u64,
        status: Out<u32>,
    ) |driver, _| {
        let name = name.name()?;
        driver.prepare()?;
        let missing = driver.config.missing_symbol.as_deref() == Some(&*name);
        let found = crate::api::find(&name).filter(|_| !missing);
        status.set_if_wanted(if found.is_some() { 0 } else { SYMBOL_NOT_FOUND });
        address.set(found.unwrap_or(0))?;
        // With a status the caller learns from it; without, from the result.
        if found.is_none() && status.is_null() {
            return Code::NOT_FOUND.err(format!("no function called {name}"));
        }
        Ok(())
    };
}

fn describe(text: Option<&'static std::ffi::CStr>, out: Out<usize>) -> Result<()> {
    out.set(text.map_or(0, address_of))?;
    match text {
        Some(_) => Ok(()),
        None => Code::INVALID_VALUE.err("no error has this number"),
    }
}
