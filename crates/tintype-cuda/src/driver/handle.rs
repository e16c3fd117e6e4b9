//! What the driver calls an object by.

#![allow(unsafe_code)]

/// An opaque pointer that the driver gave out.
#[derive(Debug)]
pub(super) struct Handle<T>(*mut T);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

// SAFETY: this side never follows the pointer, it only hands it back. The driver takes the handles
// of contexts, streams, events, modules and functions from any thread, several at a time. Those of
// graphs it takes from one thread at a time: their owners are used through a stream, which is
// borrowed mutably for each call.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

impl<T> Handle<T> {
    /// A handle as the driver returned it.
    pub(super) const fn new(raw: *mut T) -> Self {
        Self(raw)
    }

    /// A handle as the driver takes it.
    pub(super) const fn raw(self) -> *mut T {
        self.0
    }
}
