//! A driver set up for a row: context, two streams, kernels, memory.

use std::ffi::{CString, c_void};
use std::time::{Duration, Instant};

use crate::api::{Api, Handle};

/// The legacy default stream.
pub(crate) const LEGACY: Handle = 0;
/// `CU_STREAM_NON_BLOCKING`.
pub(crate) const NON_BLOCKING: u32 = 1;
/// How long [`Gpu::delay`] holds a stream up.
pub(crate) const DELAY: Duration = Duration::from_millis(100);

/// The kernels that rows launch.
pub(crate) const PTX: &str = include_str!("kernels.ptx");

/// One driver with what rows need of it.
pub(crate) struct Gpu {
    /// The driver.
    pub(crate) api: Api,
    /// The stream that rows capture.
    pub(crate) stream: Handle,
    /// Another one.
    pub(crate) other: Handle,
    /// The module of [`PTX`].
    pub(crate) module: Handle,
    /// 4 KiB of device memory.
    pub(crate) memory: u64,
    /// 4 KiB more.
    pub(crate) spare: u64,
    /// The context.
    pub(crate) context: Handle,
}

impl Gpu {
    /// Opens the device with streams that do not wait for the legacy stream, or do.
    ///
    /// # Errors
    /// The call that failed.
    pub(crate) fn open(path: &str, stream_flags: u32) -> Result<Gpu, String> {
        let api = Api::load(path)?;
        let mut gpu = Gpu { api, stream: 0, other: 0, module: 0, memory: 0, spare: 0, context: 0 };
        let ok = |code: u32, what: &str| match code {
            0 => Ok(()),
            _ => Err(format!("{what} failed with {code}")),
        };
        ok(gpu.api.cuInit(0), "cuInit")?;
        ok(gpu.api.cuDevicePrimaryCtxRetain(&mut gpu.context, 0), "cuDevicePrimaryCtxRetain")?;
        ok(gpu.api.cuCtxSetCurrent(gpu.context), "cuCtxSetCurrent")?;
        ok(gpu.api.cuStreamCreate(&mut gpu.stream, stream_flags), "cuStreamCreate")?;
        ok(gpu.api.cuStreamCreate(&mut gpu.other, stream_flags), "cuStreamCreate")?;
        let mut module = 0;
        ok(gpu.load(PTX, &mut module), "cuModuleLoadData")?;
        gpu.module = module;
        let (mut memory, mut spare) = (0, 0);
        ok(gpu.api.cuMemAlloc_v2(&mut memory, 4096), "cuMemAlloc")?;
        ok(gpu.api.cuMemAlloc_v2(&mut spare, 4096), "cuMemAlloc")?;
        (gpu.memory, gpu.spare) = (memory, spare);
        gpu.clear();
        Ok(gpu)
    }

    /// Clears both blocks of memory and waits for everything.
    pub(crate) fn clear(&self) {
        self.api.cuMemsetD8_v2(self.memory, 0, 4096);
        self.api.cuMemsetD8_v2(self.spare, 0, 4096);
        self.api.cuCtxSynchronize();
    }

    /// Loads PTX.
    pub(crate) fn load(&self, ptx: &str, module: &mut Handle) -> u32 {
        let image = CString::new(ptx).unwrap_or_default();
        self.api.cuModuleLoadData(module, image.as_ptr())
    }

    /// A kernel of the module.
    pub(crate) fn function(&self, name: &str) -> Handle {
        self.function_of(self.module, name).1
    }

    /// A kernel of `module`, with the result of asking for it.
    pub(crate) fn function_of(&self, module: Handle, name: &str) -> (u32, Handle) {
        let c_name = CString::new(name).unwrap_or_default();
        let mut function = 0;
        let code = self.api.cuModuleGetFunction(&mut function, module, c_name.as_ptr());
        (code, function)
    }

    /// Launches a kernel with parameters of eight bytes or less each.
    pub(crate) fn launch(
        &self,
        function: Handle,
        shape: [u32; 7],
        stream: Handle,
        args: &[u64],
    ) -> u32 {
        let pointers: Vec<*const c_void> =
            args.iter().map(|arg| std::ptr::from_ref(arg).cast()).collect();
        let params = if args.is_empty() { std::ptr::null() } else { pointers.as_ptr() };
        let [gx, gy, gz, bx, by, bz, shared] = shape;
        let api = &self.api;
        api.cuLaunchKernel(
            function,
            gx,
            gy,
            gz,
            bx,
            by,
            bz,
            shared,
            stream,
            params,
            std::ptr::null(),
        )
    }

    /// Stores a word.
    pub(crate) fn store(&self, stream: Handle, address: u64, value: u64) -> u32 {
        self.launch(self.function("store"), ONE_THREAD, stream, &[address, value])
    }

    /// Adds one to a word.
    pub(crate) fn increment(&self, stream: Handle, address: u64) -> u32 {
        self.launch(self.function("increment"), ONE_THREAD, stream, &[address])
    }

    /// Holds `stream` up for [`DELAY`].
    pub(crate) fn delay(&self, stream: Handle) {
        self.api.cuLaunchHostFunc(stream, sleep, 0);
    }

    /// A word of device memory, or the code of the call that failed.
    pub(crate) fn peek(&self, address: u64) -> String {
        let mut word = [0u8; 4];
        match self.api.cuMemcpyDtoH_v2(word.as_mut_ptr(), address, 4) {
            0 => u32::from_le_bytes(word).to_string(),
            code => format!("error {code}"),
        }
    }

    /// What a stream's capture is: `none`, `active` or `invalidated`.
    pub(crate) fn status(&self, stream: Handle) -> String {
        let mut status = 0;
        match self.api.cuStreamIsCapturing(stream, &mut status) {
            0 => ["none", "active", "invalidated"][status as usize % 3].to_owned(),
            code => format!("error {code}"),
        }
    }

    /// Captures what `record` enqueues on the stream.
    pub(crate) fn captured<T>(&self, record: impl FnOnce() -> T) -> Handle {
        let mut graph = 0;
        self.api.cuStreamBeginCapture_v2(self.stream, THREAD_LOCAL);
        record();
        self.api.cuStreamEndCapture(self.stream, &mut graph);
        graph
    }

    /// The types of a graph's nodes.
    pub(crate) fn node_types(&self, graph: Handle) -> Vec<u32> {
        let mut count = 0;
        self.api.cuGraphGetNodes(graph, std::ptr::null_mut(), &mut count);
        let mut nodes = vec![0; count];
        self.api.cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count);
        let kind = |&node: &Handle| {
            let mut kind = 0;
            self.api.cuGraphNodeGetType(node, &mut kind);
            kind
        };
        nodes.iter().map(kind).collect()
    }

    /// An executable graph.
    pub(crate) fn instantiate(&self, graph: Handle) -> Handle {
        let mut exec = 0;
        self.api.cuGraphInstantiateWithFlags(&mut exec, graph, 0);
        exec
    }
}

/// A grid of one thread.
pub(crate) const ONE_THREAD: [u32; 7] = [1, 1, 1, 1, 1, 1, 0];
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`.
pub(crate) const THREAD_LOCAL: u32 = 1;

extern "C" fn sleep(_: *mut c_void) {
    std::thread::sleep(DELAY);
}

/// Whether a call waited for [`Gpu::delay`].
pub(crate) fn waited(call: impl FnOnce() -> u32) -> String {
    let start = Instant::now();
    let code = call();
    let waits = if start.elapsed() > DELAY / 2 { "waits" } else { "does not wait" };
    format!("{code}, {waits}")
}
