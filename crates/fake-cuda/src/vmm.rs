//! Virtual memory management: reserved addresses, physical memory, and mappings between the two.

use std::collections::BTreeMap;

use crate::capture::Unsafe;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::handle::{Handle, Kind, Table};
use crate::types::{ALLOCATION_PINNED, LOCATION_DEVICE, MemAllocationProp};

/// Sizes and addresses are multiples of this, as on every GPU of the last years.
pub(crate) const GRANULARITY: u64 = 2 << 20;

/// Physical memory, alive while the program holds it or it is mapped.
#[derive(Debug)]
struct Physical {
    bytes: u64,
    released: bool,
    num_mappings: u32,
    /// What was in it when it was last unmapped.
    contents: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    physical: Handle,
    bytes: u64,
    accessible: bool,
}

/// Reservations and mappings by address, physical memory by handle.
#[derive(Debug)]
pub(crate) struct VirtualMemory {
    reservations: BTreeMap<u64, u64>,
    mappings: BTreeMap<u64, Mapping>,
    physical: Table<Physical>,
}

impl VirtualMemory {
    pub(crate) fn new() -> VirtualMemory {
        VirtualMemory {
            reservations: BTreeMap::new(),
            mappings: BTreeMap::new(),
            physical: Table::new(Kind::Physical),
        }
    }

    fn is_reserved(&self, address: u64, bytes: u64) -> bool {
        let around = self.reservations.range(..=address).next_back();
        around.is_some_and(|(&base, &len)| address - base + bytes <= len)
    }

    /// Base addresses of the mappings that make up exactly this range.
    fn tiles(&self, address: u64, bytes: u64) -> Result<Vec<u64>> {
        let mut at = address;
        let mut tiles = Vec::new();
        while at < address + bytes {
            let Some(mapping) = self.mappings.get(&at) else {
                return Code::INVALID_VALUE.err(format!("no mapping begins at {at:#x}"));
            };
            tiles.push(at);
            at += mapping.bytes;
        }
        if at != address + bytes {
            return Code::INVALID_VALUE.err("the range ends inside a mapping");
        }
        Ok(tiles)
    }

    /// Reservations and physical memory that the program holds, a line each.
    pub(crate) fn living(&self) -> Vec<String> {
        let reservations = self.reservations.iter();
        let held = self.physical.iter().filter(|(_, physical)| !physical.released);
        reservations
            .map(|(address, bytes)| format!("reservation {address:#x} of {bytes} bytes"))
            .chain(held.map(|(handle, physical)| {
                format!("physical memory {:#x} of {} bytes", handle.0, physical.bytes)
            }))
            .collect()
    }
}

fn aligned(what: &str, value: u64) -> Result<()> {
    if value == 0 || !value.is_multiple_of(GRANULARITY) {
        return Code::INVALID_VALUE.err(format!("{what} {value:#x} is no multiple of 2 MiB"));
    }
    Ok(())
}

impl Driver {
    /// `cuMemAddressReserve`.
    pub(crate) fn address_reserve(&mut self, bytes: u64, alignment: u64) -> Result<u64> {
        aligned("size", bytes)?;
        if alignment != 0 && (!alignment.is_power_of_two() || alignment > GRANULARITY) {
            return Code::INVALID_VALUE.err(format!("alignment {alignment}"));
        }
        let slack = self.memory.space().reserve(bytes + GRANULARITY);
        let address = slack.next_multiple_of(GRANULARITY);
        self.virtual_memory.reservations.insert(address, bytes);
        Ok(address)
    }

    /// `cuMemAddressFree`.
    pub(crate) fn address_free(&mut self, address: u64, bytes: u64) -> Result<()> {
        if self.virtual_memory.reservations.get(&address) != Some(&bytes) {
            return Code::INVALID_VALUE.err(format!("{address:#x} is no reservation of that size"));
        }
        if self.virtual_memory.mappings.range(address..address + bytes).next().is_some() {
            return Code::INVALID_VALUE.err("part of the range is still mapped");
        }
        self.virtual_memory.reservations.remove(&address);
        Ok(())
    }

    /// `cuMemCreate`.
    pub(crate) fn physical_create(
        &mut self,
        bytes: u64,
        prop: &MemAllocationProp,
        caller: &Caller,
    ) -> Result<Handle> {
        self.forbid_in_capture(Unsafe("cuMemCreate"), caller)?;
        aligned("size", bytes)?;
        if prop.kind != ALLOCATION_PINNED || prop.location.kind != LOCATION_DEVICE {
            return Code::NOT_SUPPORTED.err("only pinned memory of the device is modelled");
        }
        self.check_device(prop.location.id)?;
        self.admit_allocation()?;
        self.memory.claim(bytes)?;
        let physical = Physical { bytes, released: false, num_mappings: 0, contents: None };
        Ok(self.virtual_memory.physical.insert(physical))
    }

    /// `cuMemRelease`: the memory goes with its last mapping.
    pub(crate) fn physical_release(&mut self, handle: Handle) -> Result<()> {
        let physical = self.virtual_memory.physical.get_mut(handle)?;
        if std::mem::replace(&mut physical.released, true) {
            return Code::INVALID_VALUE.err("the memory was released before");
        }
        self.physical_bury(handle)
    }

    fn physical_bury(&mut self, handle: Handle) -> Result<()> {
        let physical = self.virtual_memory.physical.get(handle)?;
        if physical.released && physical.num_mappings == 0 {
            self.memory.release(physical.bytes);
            self.virtual_memory.physical.remove(handle)?;
        }
        Ok(())
    }

    /// `cuMemMap`. Nothing can access the range before `cuMemSetAccess`.
    pub(crate) fn map(
        &mut self,
        address: u64,
        bytes: u64,
        offset: u64,
        handle: Handle,
    ) -> Result<()> {
        aligned("address", address)?;
        let own = &mut self.virtual_memory;
        let physical = own.physical.get(handle)?;
        if offset != 0 || bytes != physical.bytes || physical.num_mappings > 0 {
            return Code::NOT_SUPPORTED.err("only whole allocations, mapped once, are modelled");
        }
        if !own.is_reserved(address, bytes) {
            return Code::INVALID_VALUE.err(format!("{address:#x} is not reserved"));
        }
        let before = own.mappings.range(..address + bytes).next_back();
        if before.is_some_and(|(&base, mapping)| base + mapping.bytes > address) {
            return Code::INVALID_VALUE.err(format!("{address:#x} is mapped already"));
        }
        own.mappings.insert(address, Mapping { physical: handle, bytes, accessible: false });
        own.physical.get_mut(handle)?.num_mappings += 1;
        Ok(())
    }

    /// `cuMemSetAccess`.
    pub(crate) fn set_access(&mut self, address: u64, bytes: u64, readable: bool) -> Result<()> {
        for base in self.virtual_memory.tiles(address, bytes)? {
            if readable {
                self.open(base)?;
            } else {
                self.close(base)?;
            }
        }
        Ok(())
    }

    /// Makes a mapping accessible, with what its memory held.
    fn open(&mut self, base: u64) -> Result<()> {
        let own = &mut self.virtual_memory;
        let Some(mapping) = own.mappings.get_mut(&base) else { return Ok(()) };
        if std::mem::replace(&mut mapping.accessible, true) {
            return Ok(());
        }
        let wrong = |why: String| Code::INVALID_VALUE.because(why);
        let space = self.memory.space();
        space.alloc_at(base, mapping.bytes).map_err(|error| wrong(error.to_string()))?;
        match own.physical.get_mut(mapping.physical)?.contents.take() {
            Some(contents) => self.memory.write(base, &contents).map_err(wrong),
            None => Ok(()),
        }
    }

    /// Takes a mapping's memory out of reach and keeps what it held.
    fn close(&mut self, base: u64) -> Result<()> {
        let own = &mut self.virtual_memory;
        let Some(mapping) = own.mappings.get_mut(&base) else { return Ok(()) };
        if !std::mem::replace(&mut mapping.accessible, false) {
            return Ok(());
        }
        let wrong = |why: String| Code::INVALID_VALUE.because(why);
        let physical = own.physical.get_mut(mapping.physical)?;
        if !physical.released {
            physical.contents = Some(self.memory.read(base, mapping.bytes).map_err(wrong)?);
        }
        self.memory.space().free(base).map_err(|error| wrong(error.to_string()))
    }

    /// `cuMemUnmap`: waits for all queued work first, since it may use the range.
    pub(crate) fn unmap(&mut self, address: u64, bytes: u64, caller: &Caller) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuMemUnmap"), caller)?;
        self.run_everything();
        self.healthy()?;
        for base in self.virtual_memory.tiles(address, bytes)? {
            self.close(base)?;
            let Some(mapping) = self.virtual_memory.mappings.remove(&base) else { continue };
            self.virtual_memory.physical.get_mut(mapping.physical)?.num_mappings -= 1;
            self.physical_bury(mapping.physical)?;
        }
        Ok(())
    }

    /// Whether the device can access `address`, for `cuMemGetAccess`.
    pub(crate) fn is_accessible(&self, address: u64) -> Result<bool> {
        let around = self.virtual_memory.mappings.range(..=address).next_back();
        match around.filter(|(base, mapping)| address - *base < mapping.bytes) {
            Some((_, mapping)) => Ok(mapping.accessible),
            None => Code::INVALID_VALUE.err(format!("{address:#x} is not mapped")),
        }
    }
}
