//! Stream-ordered allocation: memory pools.

use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::handle::{Handle, Kind, Table};
use crate::memory::Origin;
use crate::operation::Operation;

/// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`, and the attributes that only report.
const RELEASE_THRESHOLD: u32 = 4;
const RESERVED_CURRENT: u32 = 5;
const USED_HIGH: u32 = 8;

/// A memory pool. Freed memory goes back to the device at once, whatever the threshold.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    release_threshold: u64,
    used: u64,
    used_high: u64,
}

/// The device's default pool and those that the program made.
#[derive(Debug)]
pub(crate) struct Pools {
    table: Table<Pool>,
    default: Handle,
    /// The one that `cuMemAllocAsync` takes from.
    pub(crate) current: Handle,
}

impl Pools {
    pub(crate) fn new() -> Pools {
        let mut table = Table::new(Kind::Pool);
        let default = table.insert(Pool::default());
        Pools { table, default, current: default }
    }

    pub(crate) fn default_pool(&self) -> Handle {
        self.default
    }

    /// Makes `pool` the one that `cuMemAllocAsync` takes from.
    pub(crate) fn select(&mut self, pool: Handle) -> Result<()> {
        self.table.get(pool)?;
        self.current = pool;
        Ok(())
    }

    pub(crate) fn create(&mut self) -> Handle {
        self.table.insert(Pool::default())
    }

    pub(crate) fn check(&self, pool: Handle) -> Result<()> {
        self.table.get(pool).map(drop)
    }

    pub(crate) fn destroy(&mut self, pool: Handle) -> Result<()> {
        if pool == self.default {
            return Code::INVALID_VALUE.err("the default pool cannot be destroyed");
        }
        self.table.remove(pool)?;
        if self.current == pool {
            self.current = self.default;
        }
        Ok(())
    }

    pub(crate) fn attribute(&self, pool: Handle, attribute: u32) -> Result<u64> {
        let pool = self.table.get(pool)?;
        match attribute {
            // Whether freed memory is reused across streams: always, and it does not matter.
            1..RELEASE_THRESHOLD => Ok(1),
            RELEASE_THRESHOLD => Ok(pool.release_threshold),
            RESERVED_CURRENT | 7 => Ok(pool.used),
            6 | USED_HIGH => Ok(pool.used_high),
            _ => Code::INVALID_VALUE.err(format!("unknown pool attribute {attribute}")),
        }
    }

    pub(crate) fn set_attribute(&mut self, pool: Handle, attribute: u32, value: u64) -> Result<()> {
        let pool = self.table.get_mut(pool)?;
        match attribute {
            1..RELEASE_THRESHOLD => {}
            RELEASE_THRESHOLD => pool.release_threshold = value,
            // The high-water marks can be set back.
            6 | USED_HIGH if value == 0 => pool.used_high = pool.used,
            _ => return Code::INVALID_VALUE.err(format!("pool attribute {attribute} is fixed")),
        }
        Ok(())
    }

    pub(crate) fn took(&mut self, pool: Handle, bytes: u64) {
        if let Ok(pool) = self.table.get_mut(pool) {
            pool.used += bytes;
            pool.used_high = pool.used_high.max(pool.used);
        }
    }

    pub(crate) fn gave_back(&mut self, pool: Handle, bytes: u64) {
        if let Ok(pool) = self.table.get_mut(pool) {
            pool.used = pool.used.saturating_sub(bytes);
        }
    }
}

impl Driver {
    /// `cuMemAllocAsync`. The memory is there at once; in a capture it becomes a node, and is there
    /// once the node has run.
    pub(crate) fn alloc_async(
        &mut self,
        bytes: u64,
        pool: Handle,
        stream: Handle,
        caller: &Caller,
    ) -> Result<u64> {
        let stream = self.streams.resolve(stream, caller)?;
        self.pools.check(pool)?;
        if bytes == 0 {
            return Code::INVALID_VALUE.err("an allocation of 0 bytes");
        }
        self.or_invalidate(stream, |driver| {
            driver.admit_allocation()?;
            if driver.is_capturing(stream)? {
                let address = driver.memory.space().reserve(bytes);
                driver.submit(stream, Operation::Alloc { address, bytes }, false)?;
                return Ok(address);
            }
            let address = driver.memory.alloc(bytes, Origin::Pool(pool))?;
            driver.pools.took(pool, bytes);
            Ok(address)
        })
    }

    /// `cuMemFreeAsync`: the memory goes when the stream gets there.
    pub(crate) fn free_async(
        &mut self,
        address: u64,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        if address == 0 {
            return Ok(());
        }
        self.or_invalidate(stream, |driver| {
            if !driver.is_capturing(stream)? {
                let Some(allocation) = driver.memory.owner(address) else {
                    return Code::INVALID_VALUE.err(format!("{address:#x} is no allocation"));
                };
                if let Origin::Pool(pool) = allocation.origin {
                    driver.pools.gave_back(pool, allocation.bytes);
                }
            }
            driver.submit(stream, Operation::Free { address }, false).map(drop)
        })
    }
}
