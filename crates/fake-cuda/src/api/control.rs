//! Functions for tests, which no real driver has.

use std::ffi::c_char;

use crate::error::Code;
use crate::ffi::{In, Out, set_text};

exports! {
    Nothing fakeCudaVersion(version: Out<u32>) |_, _| version.set(1);
    Nothing fakeCudaSet(name: In<c_char>, value: u64) |driver, _| driver.set(&name.name()?, value);
    Nothing fakeCudaGet(name: In<c_char>, value: Out<u64>) |driver, _| {
        value.set(driver.counter(&name.name()?)?)
    };
    Nothing fakeCudaReport(name: In<c_char>, text: Out<u8>, room: usize, needed: Out<usize>)
        |driver, _| {
            let report = driver.report(&name.name()?)?;
            needed.set_if_wanted(report.len() + 1);
            if text.is_null() { Ok(()) } else { set_text(text, room, &report) }
        };
    Nothing fakeCudaLastFault(text: Out<u8>, room: usize) |driver, _| match &driver.fault {
        Some(fault) => set_text(text, room, &fault.message),
        None => Code::NOT_FOUND.err("the device has met no fault"),
    };
    Nothing fakeCudaReset() |driver, _| {
        driver.reset();
        Ok(())
    };
}
