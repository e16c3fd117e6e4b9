//! What comes over the C boundary: pointers as types that say what they may point to.
//!
//! Everything that dereferences a pointer of the program is in this file. The types have no public
//! fields and are made by C callers only (or, in tests, from references), so what makes their
//! methods sound is the contract of the driver API: an argument is null or points to what the
//! function's documentation says, for as long as it says.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};

use crate::error::{Code, Result};

/// Null, or where the caller wants a `T`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    /// Stores `value`.
    ///
    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn set(self, value: T) -> Result<()> {
        if self.0.is_null() {
            return Code::INVALID_VALUE.err("an output pointer is null");
        }
        self.set_if_wanted(value);
        Ok(())
    }

    /// Stores `value`, unless the caller passed null because it does not want it.
    pub(crate) fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: by the API's contract a non-null output points to memory for a `T`; it need
            // not be initialised, so nothing is dropped. C does not promise alignment to Rust, so
            // none is assumed.
            unsafe { self.0.write_unaligned(value) }
        }
    }

    /// Whether the caller passed null.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// An address that the program passed as a number, where a pointer to a `T` was due.
    pub(crate) fn at_address(address: usize) -> Out<T> {
        Out(address as *mut T)
    }

    /// Element `index` of the array that this points to.
    pub(crate) fn at(self, index: usize) -> Out<T> {
        Out(if self.0.is_null() { self.0 } else { self.0.wrapping_add(index) })
    }

    /// Stores `values` one after the other.
    ///
    /// # Errors
    /// `INVALID_VALUE` for null, unless there is nothing to store.
    pub(crate) fn set_all(self, values: impl IntoIterator<Item = T>) -> Result<()> {
        for (i, value) in values.into_iter().enumerate() {
            self.at(i).set(value)?;
        }
        Ok(())
    }

    /// Reads an argument that goes both ways.
    ///
    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn get(self) -> Result<T> {
        In(self.0.cast_const()).get()
    }
}

#[cfg(test)]
impl<T> From<&mut T> for Out<T> {
    fn from(place: &mut T) -> Self {
        Out(place)
    }
}

/// Null, or where the caller has one or several `T`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

impl<T: Copy> In<T> {
    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn get(self) -> Result<T> {
        if self.0.is_null() {
            return Code::INVALID_VALUE.err("an input pointer is null");
        }
        // SAFETY: by the API's contract a non-null input points to an initialised `T`, and every
        // `T` used is a plain C value for which any bits are valid.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The first `len` values.
    ///
    /// # Errors
    /// `INVALID_VALUE` for null, unless `len` is 0.
    pub(crate) fn get_all(self, len: usize) -> Result<Vec<T>> {
        (0..len)
            .map(|i| In(if self.0.is_null() { self.0 } else { self.0.wrapping_add(i) }).get())
            .collect()
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }
}

impl In<c_char> {
    /// The bytes up to the terminating zero.
    ///
    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn text(self) -> Result<Vec<u8>> {
        if self.0.is_null() {
            return Code::INVALID_VALUE.err("a string is null");
        }
        // SAFETY: by the API's contract a name is a string that ends in a zero.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_bytes().to_vec())
    }

    /// The same as text; bytes that are not UTF-8 match no name and are replaced.
    pub(crate) fn name(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.text()?).into_owned())
    }
}

/// Stores `text` with a terminating zero in a buffer of `len` bytes, cut if need be.
///
/// # Errors
/// `INVALID_VALUE` for null or no room.
pub(crate) fn set_text(buffer: Out<u8>, len: usize, text: &str) -> Result<()> {
    if len == 0 {
        return Code::INVALID_VALUE.err("a buffer of no bytes");
    }
    let fits = &text.as_bytes()[..text.len().min(len - 1)];
    buffer.set_all(fits.iter().copied().chain([0]))
}

/// An address in the program's memory that a copy reads or writes when it runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub(crate) struct HostAddress(pub(crate) usize);

/// A range of the program's memory that outlives the work that uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HostSpan {
    address: HostAddress,
    bytes: usize,
}

impl HostSpan {
    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn new(address: HostAddress, bytes: usize) -> Result<HostSpan> {
        if address.0 == 0 && bytes > 0 {
            return Code::INVALID_VALUE.err("a host pointer is null");
        }
        Ok(HostSpan { address, bytes })
    }

    /// `bytes` bytes of it from `offset` on, which lie inside.
    pub(crate) fn part(&self, offset: usize, bytes: usize) -> HostSpan {
        assert!(offset + bytes <= self.bytes);
        HostSpan { address: HostAddress(self.address.0 + offset), bytes }
    }

    /// The bytes that are there now.
    pub(crate) fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        if self.bytes == 0 {
            return bytes;
        }
        let from = self.address.0 as *const u8;
        // SAFETY: the program passed the range to a call that reads it, which obliges it to keep
        // the range readable, and not to write to it, until that has happened. It may be anybody's
        // before and after, so no reference is made to it. The vector is fresh memory of this size,
        // so the two do not overlap, and all of it is written before its length says so.
        unsafe {
            std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), self.bytes);
            bytes.set_len(self.bytes);
        }
        bytes
    }

    /// Overwrites the whole range.
    pub(crate) fn write(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.bytes);
        if self.bytes == 0 {
            return;
        }
        // SAFETY: as for `read`, with the range writable and, until the copy has run, not used by
        // the program. `bytes` is memory of ours, so the two do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.0 as *mut u8, bytes.len());
        }
    }
}

/// A function of the program that a stream calls.
#[derive(Clone, Copy)]
pub(crate) struct HostCall {
    pub(crate) function: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(crate) data: usize,
}

impl HostCall {
    pub(crate) fn run(&self) {
        if let Some(function) = self.function {
            // SAFETY: whoever enqueued the function promised that it may be called with this
            // argument, from any thread, when the stream gets to it.
            unsafe { function(self.data as *mut c_void) }
        }
    }
}

/// The `kernelParams` of a launch: null, or an array with a pointer for each parameter.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct KernelParams(*const *const u8);

impl KernelParams {
    /// An array of the library's own, at this address.
    pub(crate) fn lent(address: usize) -> KernelParams {
        KernelParams(address as *const *const u8)
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The `bytes` bytes of parameter `index`.
    ///
    /// # Errors
    /// `INVALID_VALUE` if the array or the pointer is null.
    pub(crate) fn read(self, index: usize, bytes: usize) -> Result<Vec<u8>> {
        let pointer = In(if self.0.is_null() { self.0 } else { self.0.wrapping_add(index) });
        let address = HostAddress(pointer.get()? as usize);
        Ok(HostSpan::new(address, bytes)?.read())
    }
}

/// The `extra` of a launch: null, or a list of tags and values that ends in a zero.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Extra(In<usize>);

const EXTRA_END: usize = 0;
const EXTRA_BUFFER_POINTER: usize = 1;
const EXTRA_BUFFER_SIZE: usize = 2;

impl Extra {
    pub(crate) const NULL: Extra = Extra(In(std::ptr::null()));

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The parameter buffer that the list describes, as it lies in the program's memory.
    ///
    /// # Errors
    /// `INVALID_VALUE` for an unknown tag or a list that lacks the pointer or the size.
    pub(crate) fn buffer(self) -> Result<HostSpan> {
        let (mut pointer, mut bytes) = (None, None);
        let mut entry = self.0.0;
        loop {
            let value = In(entry.wrapping_add(1));
            match In(entry).get()? {
                EXTRA_END => break,
                EXTRA_BUFFER_POINTER => pointer = Some(value.get()?),
                EXTRA_BUFFER_SIZE => bytes = Some(In(value.get()? as *const usize).get()?),
                tag => return Code::INVALID_VALUE.err(format!("unknown tag {tag} in extra")),
            }
            entry = entry.wrapping_add(2);
        }
        match (pointer, bytes) {
            (Some(pointer), Some(bytes)) => HostSpan::new(HostAddress(pointer), bytes),
            _ => Code::INVALID_VALUE.err("extra lacks the buffer's pointer or its size"),
        }
    }
}

/// Attribute values whose type depends on the attribute: written as so many bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Untyped(*mut u8);

impl Untyped {
    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn set(self, bytes: &[u8]) -> Result<()> {
        Out(self.0).set_all(bytes.iter().copied())
    }

    /// # Errors
    /// `INVALID_VALUE` for null.
    pub(crate) fn get_u64(self) -> Result<u64> {
        In(self.0.cast::<u64>().cast_const()).get()
    }
}

/// Registers `function` to be called when the process ends or the library is unloaded.
pub(crate) fn at_exit(function: extern "C" fn()) {
    unsafe extern "C" {
        fn atexit(function: extern "C" fn()) -> i32;
    }
    // SAFETY: the C library's own function; `function` is code of this library, for which the
    // handler runs before it is unloaded.
    unsafe { atexit(function) };
}

/// A static array element that C may keep: the address of a zero-terminated string.
pub(crate) fn address_of(text: &CStr) -> usize {
    text.as_ptr() as usize
}
