//! A module whose variables lie in a memory.

use std::sync::Arc;

use crate::{Memory, MemoryError, Module};

/// A module ready to launch kernels from: its `.global` and `.const` variables have addresses.
#[derive(Debug)]
pub struct Loaded {
    module: Arc<Module>,
    addresses: Vec<u64>,
}

impl Loaded {
    /// Allocates and initialises the module's variables in `memory`.
    ///
    /// # Errors
    /// When the memory has no room for them; nothing stays allocated.
    pub fn new(module: Arc<Module>, memory: &Memory) -> Result<Self, MemoryError> {
        let mut loaded = Self { module, addresses: Vec::new() };
        match loaded.allocate(memory) {
            Ok(()) => Ok(loaded),
            Err(error) => {
                loaded.unload(memory);
                Err(error)
            }
        }
    }

    fn allocate(&mut self, memory: &Memory) -> Result<(), MemoryError> {
        for global in &self.module.globals {
            self.addresses.push(memory.alloc(global.bytes)?);
        }
        for (global, &address) in self.module.globals.iter().zip(&self.addresses) {
            let mut bytes = global.init.clone();
            for &(offset, target) in &global.pointers {
                let word = &mut bytes[offset..offset + 8];
                let addend = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                word.copy_from_slice(&(self.addresses[target] + addend).to_le_bytes());
            }
            let (words, rest) = (global.bytes / 4, global.bytes % 4);
            memory.fill(address, &[0; 4], words as usize)?;
            memory.fill(address + 4 * words, &[0], rest as usize)?;
            memory.write(address, &bytes)?;
        }
        Ok(())
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Address and size in bytes of a `.global` or `.const` variable.
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        let index = self.module.globals.iter().position(|g| g.name == name)?;
        Some((self.addresses[index], self.module.globals[index].bytes))
    }

    /// Addresses of the variables, in the order of the module.
    pub(crate) fn addresses(&self) -> &[u64] {
        &self.addresses
    }

    /// Frees the variables. A memory other than the one loaded into is left as it is.
    pub fn unload(self, memory: &Memory) {
        for address in self.addresses {
            // Only fails for an address of another memory.
            let _ = memory.free(address);
        }
    }
}
