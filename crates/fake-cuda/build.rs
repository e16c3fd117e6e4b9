//! Gives the library the name under which programs look for the driver.
//!
//! A process that has loaded this library by path then gets it again from `dlopen("libcuda.so")`,
//! so a test needs no environment to put it in front of a real driver. Calls inside the library are
//! bound to the library itself, so that a function may be taken out of its symbol table.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so,-Bsymbolic");
}
