//! Loaded device code, its functions, and launches of them.

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{
    CUfunc_st, CUfunction_attribute, CUjit_option, CUlaunchAttribute, CUlaunchAttributeID,
    CUlaunchAttributeValue, CUlaunchConfig, CUmod_st, CUstream_st,
};

use super::handle::Handle;
use super::{Context, DriverError, Queue};

/// Room for what the driver's compiler has to say.
const LOG_BYTES: usize = 8 << 10;

/// A module that was not loaded.
#[derive(Debug)]
pub(crate) struct LoadError {
    /// What the driver answered.
    pub(crate) source: DriverError,
    /// What its compiler said; empty when it said nothing.
    pub(crate) log: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)?;
        if self.log.is_empty() { Ok(()) } else { write!(f, "\n{}", self.log) }
    }
}

/// Device code in a context.
#[derive(Debug)]
pub(crate) struct Module {
    handle: Handle<CUmod_st>,
    context: Arc<Context>,
}

impl Module {
    /// Compiles and loads PTX.
    ///
    /// # Errors
    /// What the driver answered, with the compiler's log.
    pub(crate) fn compile(context: &Arc<Context>, ptx: &str) -> Result<Self, LoadError> {
        // Text ends at its first zero byte, for the driver too.
        let text = ptx.split('\0').next().unwrap_or_default();
        let text = CString::new(text).expect("split at zero bytes");
        // SAFETY: the text ends with a zero byte.
        unsafe { Self::load(context, text.as_ptr().cast()) }
    }

    /// Loads machine code.
    ///
    /// # Errors
    /// What the driver answered.
    ///
    /// # Safety
    /// `cubin` is a whole image, as the assembler wrote it: its length is in its header, and the
    /// driver believes it.
    pub(crate) unsafe fn load_cubin(
        context: &Arc<Context>,
        cubin: &[u8],
    ) -> Result<Self, LoadError> {
        // SAFETY: the caller's promise.
        unsafe { Self::load(context, cubin.as_ptr().cast()) }
    }

    /// # Safety
    /// `image` points to text that ends with a zero byte, or to a whole cubin.
    unsafe fn load(context: &Arc<Context>, image: *const c_void) -> Result<Self, LoadError> {
        let mut log = vec![0u8; LOG_BYTES];
        let mut options = [
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        // A size is passed in the place of a pointer.
        let mut values = [log.as_mut_ptr().cast(), ptr::without_provenance_mut(LOG_BYTES)];
        let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
        let mut handle = ptr::null_mut();
        // SAFETY: the image is as the caller promises; the options and values are two each, the
        // log has the size that is said, and all of it outlives the call.
        let outcome = unsafe {
            call!(context, cuModuleLoadDataEx(&raw mut handle, image, 2, options, values))
        };
        match outcome {
            Ok(()) => Ok(Self { handle: Handle::new(handle), context: Arc::clone(context) }),
            Err(source) => {
                let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
                let log = String::from_utf8_lossy(text).trim().to_owned();
                Err(LoadError { source, log })
            }
        }
    }

    /// Its function of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn function(&self, name: &str) -> Result<Function, DriverError> {
        let name = CString::new(name).unwrap_or_default();
        let mut handle = ptr::null_mut();
        // SAFETY: the module is live, the name ends with a zero byte, and the pointer is valid for
        // the one handle written.
        unsafe {
            let module = self.handle.raw();
            call!(self.context, cuModuleGetFunction(&raw mut handle, module, name.as_ptr()))
        }?;
        Ok(Function { handle: Handle::new(handle), context: Arc::clone(&self.context) })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let module = self.handle.raw();
        // SAFETY: nobody else unloads it. Functions and graphs of it are dropped before it.
        self.context.release(|| unsafe { call!(self.context, cuModuleUnload(module)) });
    }
}

/// What a launch asks for beyond its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// Blocks of a cluster along x.
    ClusterDimension(u32),
    /// The kernel may start before the one in front of it has ended.
    ProgrammaticStreamSerialization,
}

impl Attribute {
    fn raw(self) -> CUlaunchAttribute {
        let mut value = CUlaunchAttributeValue { pad: [0; 64] };
        let id = match self {
            Self::ClusterDimension(x) => {
                value.clusterDim.x = x;
                value.clusterDim.y = 1;
                value.clusterDim.z = 1;
                CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            }
            Self::ProgrammaticStreamSerialization => {
                value.programmaticStreamSerializationAllowed = 1;
                CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
            }
        };
        CUlaunchAttribute { id, pad: [0; 4], value }
    }
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaunchConfig {
    /// Blocks along x, y, z.
    pub(crate) grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub(crate) block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub(crate) shared_bytes: u32,
    /// At most one of each kind.
    pub(crate) attributes: [Option<Attribute>; 2],
}

impl LaunchConfig {
    fn raw_attributes(&self) -> [CUlaunchAttribute; 2] {
        let mut attributes = [Attribute::ClusterDimension(1).raw(); 2];
        for (raw, attribute) in attributes.iter_mut().zip(self.attributes.iter().flatten()) {
            *raw = attribute.raw();
        }
        attributes
    }

    /// As the driver takes it; it points to `attributes`, which are its own.
    fn raw(
        &self,
        queue: *mut CUstream_st,
        attributes: &mut [CUlaunchAttribute; 2],
    ) -> CUlaunchConfig {
        let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (self.grid, self.block);
        CUlaunchConfig {
            gridDimX: grid_x,
            gridDimY: grid_y,
            gridDimZ: grid_z,
            blockDimX: block_x,
            blockDimY: block_y,
            blockDimZ: block_z,
            sharedMemBytes: self.shared_bytes,
            hStream: queue,
            attrs: attributes.as_mut_ptr(),
            numAttrs: self.attributes.iter().flatten().count() as u32,
        }
    }
}

/// A kernel. Its module outlives it.
#[derive(Debug)]
pub(crate) struct Function {
    handle: Handle<CUfunc_st>,
    context: Arc<Context>,
}

impl Function {
    /// Allows launches to ask for as much dynamic shared memory as goes beside the function's
    /// static one in a block of `max_shared_bytes`.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn allow_shared_bytes(&self, max_shared_bytes: u32) -> Result<(), DriverError> {
        let mut used = 0;
        let (function, context) = (self.handle.raw(), &self.context);
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
        // SAFETY: the function is live, and the pointer is valid for the one integer written.
        unsafe { call!(context, cuFuncGetAttribute(&raw mut used, attribute, function)) }?;
        let rest = max_shared_bytes.saturating_sub(used.unsigned_abs());
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is live.
        unsafe { call!(context, cuFuncSetAttribute(function, attribute, rest as i32)) }
    }

    /// Size of the parameter of this index; an error where there is none.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn param_bytes(&self, index: usize) -> Result<usize, DriverError> {
        let (mut offset, mut size) = (0, 0);
        let function = self.handle.raw();
        let (to_offset, to_size) = (&raw mut offset, &raw mut size);
        // SAFETY: the function is live, and both pointers are valid for the one integer written to
        // each.
        unsafe { call!(self.context, cuFuncGetParamInfo(function, index, to_offset, to_size)) }?;
        Ok(size)
    }

    /// Clusters of such launches that the device holds at a time.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn max_clusters(&self, config: &LaunchConfig) -> Result<u32, DriverError> {
        let (mut attributes, mut clusters) = (config.raw_attributes(), 0);
        let raw = config.raw(ptr::null_mut(), &mut attributes);
        let (to, function) = (&raw mut clusters, self.handle.raw());
        // SAFETY: the function is live, the description and its attributes outlive the call, and
        // the pointer is valid for the one integer written.
        unsafe { call!(self.context, cuOccupancyMaxActiveClusters(to, function, &raw const raw)) }?;
        Ok(clusters.unsigned_abs())
    }

    /// Queues a launch.
    ///
    /// # Errors
    /// What the driver refused.
    ///
    /// # Safety
    /// The function takes one parameter, of the size of `params`, and with this one it accesses
    /// only live device memory that nothing else uses until it has run.
    pub(crate) unsafe fn launch(
        &self,
        queue: &Queue,
        config: &LaunchConfig,
        params: &[u8],
    ) -> Result<(), DriverError> {
        let mut attributes = config.raw_attributes();
        let raw = config.raw(queue.raw(), &mut attributes);
        let mut values = [params.as_ptr().cast_mut().cast::<c_void>()];
        let (function, values) = (self.handle.raw(), values.as_mut_ptr());
        // SAFETY: the description, its attributes and the parameter, of the size that the function
        // takes, outlive the call, which copies them. The rest is the caller's promise.
        unsafe {
            call!(self.context, cuLaunchKernelEx(&raw const raw, function, values, ptr::null_mut()))
        }
    }
}
