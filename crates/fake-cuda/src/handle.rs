//! Handles: numbers that name objects of the driver, so that a stale one is an error and no crash.

use std::collections::BTreeMap;

use crate::error::{Code, Result};

/// What C holds as an opaque pointer. It is never dereferenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Handle(pub(crate) usize);

/// The kind of object that a handle names, in its top byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Context = 1,
    Stream,
    Event,
    Module,
    Function,
    Graph,
    GraphExec,
    Node,
    Pool,
    Physical,
}

const KIND_SHIFT: u32 = 56;
const ID_SHIFT: u32 = 24;
const INDEX_MASK: usize = (1 << ID_SHIFT) - 1;

impl Handle {
    pub(crate) const NULL: Handle = Handle(0);

    pub(crate) fn new(kind: Kind, id: u32) -> Handle {
        Handle::indexed(kind, id, 0)
    }

    /// Part `index` of object `id`: how a graph names its nodes.
    pub(crate) fn indexed(kind: Kind, id: u32, index: usize) -> Handle {
        debug_assert!(index <= INDEX_MASK);
        Handle((kind as usize) << KIND_SHIFT | (id as usize) << ID_SHIFT | index)
    }

    pub(crate) fn id(self, kind: Kind) -> Result<u32> {
        if self.0 >> KIND_SHIFT != kind as usize {
            return Code::INVALID_HANDLE.err(format!("{:#x} is no {kind:?}", self.0));
        }
        Ok((self.0 >> ID_SHIFT) as u32)
    }

    pub(crate) fn index(self) -> usize {
        self.0 & INDEX_MASK
    }
}

/// The living objects of one kind, in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Table<T> {
    kind: Kind,
    next: u32,
    items: BTreeMap<u32, T>,
}

impl<T> Table<T> {
    pub(crate) fn new(kind: Kind) -> Table<T> {
        Table { kind, next: 1, items: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, item: T) -> Handle {
        let id = self.next;
        self.next += 1;
        self.items.insert(id, item);
        Handle::new(self.kind, id)
    }

    fn unknown<R>(&self, handle: Handle) -> Result<R> {
        Code::INVALID_HANDLE.err(format!("{:#x} is no living {:?}", handle.0, self.kind))
    }

    pub(crate) fn get(&self, handle: Handle) -> Result<&T> {
        match self.items.get(&handle.id(self.kind)?) {
            Some(item) => Ok(item),
            None => self.unknown(handle),
        }
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Result<&mut T> {
        let id = handle.id(self.kind)?;
        if !self.items.contains_key(&id) {
            return self.unknown(handle);
        }
        Ok(self.items.get_mut(&id).expect("just found"))
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Result<T> {
        match self.items.remove(&handle.id(self.kind)?) {
            Some(item) => Ok(item),
            None => self.unknown(handle),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.items.iter().map(|(&id, item)| (Handle::new(self.kind, id), item))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut T)> {
        let kind = self.kind;
        self.items.iter_mut().map(move |(&id, item)| (Handle::new(kind, id), item))
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.items.retain(|_, item| keep(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_or_foreign_handle_is_an_error() {
        let mut table = Table::new(Kind::Event);
        let first = table.insert('a');
        let second = table.insert('b');
        assert_eq!(table.remove(first).unwrap(), 'a');
        assert_eq!(table.get(first).unwrap_err().code, Code::INVALID_HANDLE);
        assert_eq!(*table.get(second).unwrap(), 'b');
        assert_ne!(table.insert('c'), first);
        for foreign in [Handle::NULL, Handle(7), Handle::new(Kind::Stream, 2)] {
            assert_eq!(table.get(foreign).unwrap_err().code, Code::INVALID_HANDLE);
        }
    }

    #[test]
    fn a_handle_keeps_kind_id_and_index_apart() {
        let node = Handle::indexed(Kind::Node, 70_000, 5000);
        assert_eq!((node.id(Kind::Node).unwrap(), node.index()), (70_000, 5000));
        assert!(node.id(Kind::Graph).is_err());
    }
}
