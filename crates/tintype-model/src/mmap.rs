//! Files mapped into memory: the one place of this workspace that is `unsafe`.
//!
//! The contract that [`ModelSource::Folder`](crate::ModelSource::Folder) hands on to whoever gives
//! the folder: nobody shortens or overwrites the file while the process runs. A page that is cut
//! off ends the process with SIGBUS, and a byte that is overwritten changes a weight; nothing can
//! guard against either. What lies inside the file as it was opened is checked against its length
//! before anything is read.

use std::fs::File;
use std::io;

use memmap2::Mmap;
use tintype_ops::SharedBytes;

/// All bytes of `file`, read from the disk when they are first touched.
pub(crate) fn map(file: &File) -> io::Result<SharedBytes> {
    // SAFETY: the map is read only and private to this process, and it lives as long as the bytes
    // that are lent out of it, since `SharedBytes` owns it. That no other process changes the file
    // under it is the contract above, which no code on this side can enforce.
    let map = unsafe { Mmap::map(file) }?;
    Ok(SharedBytes::new(map))
}
