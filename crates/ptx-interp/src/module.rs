//! Parsed PTX: modules and their kernels.

/// Why PTX text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct ParseError {
    /// Line in the text, from 1.
    pub line: u32,
    /// What was found and what was expected.
    pub message: String,
}

/// One PTX module, parsed and checked. It lies in no memory yet; see [`Loaded`](crate::Loaded).
#[derive(Debug)]
pub struct Module {
    pub(crate) target: String,
    pub(crate) version: (u32, u32),
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) globals: Vec<Global>,
}

impl Module {
    /// Parses PTX text.
    ///
    /// # Errors
    /// For anything that is not PTX or that the interpreter does not know: no directive,
    /// instruction or modifier is ever skipped.
    pub fn parse(text: &str) -> Result<Module, ParseError> {
        crate::parse::parse(text)
    }

    /// The kernels (`.entry`), in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.kernels.iter()
    }

    /// The kernel called `name`.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|k| k.name == name)
    }

    /// The target architecture, e.g. `sm_90a`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The PTX ISA version, e.g. `(9, 0)`.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }
}

/// One kernel of a module.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) max_threads: Option<u32>,
    pub(crate) required_block: Option<[u32; 3]>,
    pub(crate) required_cluster: Option<[u32; 3]>,
    pub(crate) shared_bytes: u32,
    pub(crate) dynamic_shared_offset: u32,
    pub(crate) local_bytes: u32,
    pub(crate) num_registers: u32,
    pub(crate) code: crate::instruction::Code,
}

/// Where one parameter lies in the parameter buffer of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Offset in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Alignment in bytes.
    pub align: u32,
}

impl Kernel {
    /// The entry point's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters, in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Bytes that the parameters take together, with the padding between them.
    pub fn params_bytes(&self) -> u32 {
        self.params.last().map_or(0, |p| p.offset + p.size)
    }

    /// Most threads of a block (`.maxntid`, or `.reqntid`), if the kernel says.
    pub fn max_threads(&self) -> Option<u32> {
        self.max_threads
    }

    /// The only block that the kernel may be launched with (`.reqntid`), if it says.
    pub fn required_block(&self) -> Option<[u32; 3]> {
        self.required_block
    }

    /// The only cluster that the kernel may be launched with (`.reqnctapercluster`), if it says.
    pub fn required_cluster(&self) -> Option<[u32; 3]> {
        self.required_cluster
    }

    /// Bytes of static shared memory.
    pub fn shared_bytes(&self) -> u32 {
        self.shared_bytes
    }

    /// Bytes of local memory (stack) of each thread.
    pub fn local_bytes(&self) -> u32 {
        self.local_bytes
    }

    /// Virtual registers that the kernel uses. `ptxas` allocates fewer.
    pub fn num_registers(&self) -> u32 {
        self.num_registers
    }
}

/// A variable of the state spaces `.global` and `.const`.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// The initial contents, as far as they are not zero.
    pub(crate) init: Vec<u8>,
    /// Addresses to add to the contents: byte offset, and the index of the variable pointed to.
    pub(crate) pointers: Vec<(usize, usize)>,
}
