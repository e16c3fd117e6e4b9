//! Finding the shared library, and making a copy of it that lacks a function.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The file name of the library that this crate builds.
const NAME: &str = "libfake_cuda.so";
/// The names by which programs look for the driver.
const DRIVER_NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// The shared library that was built along with the running test, example or program.
///
/// Cargo builds it for whatever depends on this crate and leaves it in the profile's `deps` folder.
/// Load it by this path before anything looks for `libcuda.so`: the name then means this library.
///
/// # Errors
/// If the running executable cannot be found or no library lies beside it.
pub fn beside_executable() -> io::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let folder = executable.parent().unwrap_or(Path::new("."));
    let candidates = [".", "deps", "../deps"].map(|near| folder.join(near).join(NAME));
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let text = format!("no {NAME} at {candidates:?}; does a dependency on fake-cuda build it?");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// A folder beside that library in which it has the names by which programs look for the driver.
/// With it on `LD_LIBRARY_PATH`, any program runs on the fake driver.
///
/// # Errors
/// If there is no library, or the folder cannot be written.
pub fn driver_folder() -> io::Result<PathBuf> {
    let library = beside_executable()?.canonicalize()?;
    let folder = library.with_file_name("fake-driver");
    std::fs::create_dir_all(&folder)?;
    for name in DRIVER_NAMES {
        // Whoever was first made the same link.
        match symlink(&library, folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(folder)
}

/// Writes to `copy` the library at `library` without the function called `symbol`, as if it came
/// from a driver too old to have it.
///
/// A setting cannot do this: programs look functions up by `dlsym`, which asks the file, not its
/// code. So the name in the copy's symbol table is changed.
///
/// # Errors
/// If a file cannot be read or written, or the library has no such function.
pub fn without_symbol(library: &Path, symbol: &str, copy: &Path) -> io::Result<()> {
    let mut bytes = std::fs::read(library)?;
    let name = [b"\0", symbol.as_bytes(), b"\0"].concat();
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == name)
        .map(|(place, _)| place + 1)
        .collect();
    if places.is_empty() {
        let text = format!("{} has no function called {symbol}", library.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    for place in places {
        bytes[place] = b'_';
    }
    std::fs::write(copy, bytes)
}
