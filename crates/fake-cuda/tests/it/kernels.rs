//! Kernels: launched, captured, overlapped, failing.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, result, sys};
use sys::CUlaunchAttributeID as AttributeId;

use crate::{Turn, code};

/// A stream, the kernels, and two words of device memory that hold 0.
struct Kernels {
    stream: Arc<CudaStream>,
    module: sys::CUmodule,
    words: [u64; 2],
    _context: Arc<CudaContext>,
}

impl Kernels {
    fn new(turn: &Turn) -> Kernels {
        let context = turn.context();
        let stream = context.new_stream().unwrap();
        let image = CString::new(include_str!("kernels.ptx")).unwrap();
        // SAFETY: terminated text; the words are used as words.
        unsafe {
            let module = result::module::load_data(image.as_ptr().cast()).unwrap();
            let words = [(); 2].map(|()| result::malloc_sync(4).unwrap());
            for word in words {
                result::memset_d8_async(word, 0, 4, stream.cu_stream()).unwrap();
            }
            stream.synchronize().unwrap();
            Kernels { stream, module, words, _context: context }
        }
    }

    fn function(&self, name: &str) -> sys::CUfunction {
        // SAFETY: the module is never unloaded.
        unsafe { result::module::get_function(self.module, CString::new(name).unwrap()) }.unwrap()
    }

    /// Launches a kernel of one thread per block.
    fn launch_with(
        &self,
        name: &str,
        grid: u32,
        attribute: Option<sys::CUlaunchAttribute>,
        args: &[u64],
    ) -> sys::CUresult {
        let mut pointers: Vec<*mut c_void> =
            args.iter().map(|arg| std::ptr::from_ref(arg).cast_mut().cast()).collect();
        let mut attributes: Vec<_> = attribute.into_iter().collect();
        let config = sys::CUlaunchConfig {
            gridDimX: grid,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: 1,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: self.stream.cu_stream(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let (function, params) = (self.function(name), pointers.as_mut_ptr());
        // SAFETY: every parameter takes eight bytes or less, and each argument has eight.
        unsafe { sys::cuLaunchKernelEx(&config, function, params, std::ptr::null_mut()) }
    }

    fn launch(&self, name: &str, args: &[u64]) -> sys::CUresult {
        self.launch_with(name, 1, None, args)
    }

    fn read(&self, word: usize) -> u32 {
        let mut bytes = [0u8; 4];
        // SAFETY: a word on both sides.
        unsafe { result::memcpy_dtoh_sync(&mut bytes, self.words[word]).unwrap() };
        u32::from_le_bytes(bytes)
    }

    /// The graph of what `record` launches.
    fn capture(&self, record: impl FnOnce()) -> sys::CUgraph {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is ours.
        unsafe {
            result::stream::begin_capture(self.stream.cu_stream(), mode).unwrap();
            record();
            result::stream::end_capture(self.stream.cu_stream()).unwrap()
        }
    }
}

fn attribute(id: AttributeId, values: [u32; 3]) -> sys::CUlaunchAttribute {
    // SAFETY: integers and a union of plain values.
    let mut attribute: sys::CUlaunchAttribute =
        unsafe { std::mem::MaybeUninit::zeroed().assume_init() };
    attribute.id = id;
    attribute.value.clusterDim.x = values[0];
    attribute.value.clusterDim.y = values[1];
    attribute.value.clusterDim.z = values[2];
    attribute
}

fn programmatic() -> sys::CUlaunchAttribute {
    attribute(AttributeId::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, [1, 0, 0])
}

const OK: sys::CUresult = sys::CUresult::CUDA_SUCCESS;

#[test]
fn kernels_run_and_are_counted() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    let before = turn.driver.get("kernels").unwrap();
    for _ in 0..3 {
        assert_eq!(kernels.launch("add", &[kernels.words[0], 5]), OK);
    }
    assert_eq!(turn.driver.get("kernels").unwrap(), before, "nothing runs before it has to");
    kernels.stream.synchronize().unwrap();
    assert_eq!(kernels.read(0), 15);
    assert_eq!(turn.driver.get("kernels").unwrap(), before + 3);
    assert!(turn.driver.report("kernels").unwrap().contains(" add"));
}

#[test]
fn a_programmatic_launch_that_does_not_wait_reads_too_early() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    let [from, to] = kernels.words;
    let copied = |value, attribute| {
        kernels.launch("early", &[from, value]);
        kernels.launch_with("hasty", 1, attribute, &[to, from]);
        kernels.stream.synchronize().unwrap();
        kernels.read(1)
    };
    assert_eq!(copied(5, None), 5);
    assert_eq!(copied(6, Some(programmatic())), 5, "the value from before the launch in front");
}

#[test]
fn a_captured_programmatic_launch_overlaps_too() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    let [from, to] = kernels.words;
    let graph = kernels.capture(|| {
        kernels.launch("early", &[from, 5]);
        kernels.launch_with("hasty", 1, Some(programmatic()), &[to, from]);
    });
    // SAFETY: a graph of our own.
    let exec = unsafe { result::graph::instantiate(graph, NO_FLAGS) }.unwrap();
    // SAFETY: its kernels use memory that lives as long as the test.
    unsafe { result::graph::launch(exec, kernels.stream.cu_stream()) }.unwrap();
    kernels.stream.synchronize().unwrap();
    assert_eq!([kernels.read(0), kernels.read(1)], [5, 0]);
}

const NO_FLAGS: sys::CUgraphInstantiate_flags = sys::CUgraphInstantiate_flags(0);

#[test]
fn clusters_have_the_size_that_was_asked_for() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    let of = |blocks| attribute(AttributeId::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, [blocks, 1, 1]);
    let args = [kernels.words[0]];
    assert_eq!(kernels.launch_with("cluster_size", 8, Some(of(4)), &args), OK);
    kernels.stream.synchronize().unwrap();
    assert_eq!(kernels.read(0), 4);
    use sys::CUresult as R;
    let launch = |grid, blocks| kernels.launch_with("cluster_size", grid, Some(of(blocks)), &args);
    assert_eq!(launch(9, 4), R::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(launch(16, 16), R::CUDA_ERROR_INVALID_CLUSTER_SIZE);
}

#[test]
fn a_fault_names_the_kernel_and_stays() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    assert_eq!(kernels.launch("add", &[kernels.words[0] + 4, 1]), OK);
    let illegal = sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
    assert_eq!(code(kernels.stream.synchronize()), illegal);
    assert_eq!(code(result::mem_get_info()), illegal);
    let fault = turn.driver.report("fault").unwrap();
    assert!(fault.contains("add") && fault.contains("line"), "{fault}");
}

#[test]
fn launches_and_kernels_fail_on_demand() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    turn.driver.set("fail_launch", 2).unwrap();
    let launch = || kernels.launch("add", &[kernels.words[0], 1]);
    let out_of_resources = sys::CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    assert_eq!([launch(), launch(), launch()], [OK, out_of_resources, OK]);
    kernels.stream.synchronize().unwrap();
    assert_eq!(kernels.read(0), 2);
    turn.driver.set("fault_kernel", 1).unwrap();
    assert_eq!(launch(), OK);
    let failed = sys::CUresult::CUDA_ERROR_LAUNCH_FAILED;
    assert_eq!(code(kernels.stream.synchronize()), failed);
}

#[test]
fn a_node_of_an_exec_takes_new_parameters() {
    let turn = Turn::take();
    let kernels = Kernels::new(&turn);
    let graph = kernels.capture(|| {
        kernels.launch("add", &[kernels.words[0], 1]);
    });
    let (mut node, mut count) = (std::ptr::null_mut(), 1);
    // SAFETY: room for the one node; the parameters are those of `add`.
    unsafe {
        let exec = result::graph::instantiate(graph, NO_FLAGS).unwrap();
        sys::cuGraphGetNodes(graph, &mut node, &mut count).result().unwrap();
        let mut params = std::mem::MaybeUninit::uninit();
        sys::cuGraphKernelNodeGetParams_v2(node, params.as_mut_ptr()).result().unwrap();
        let mut params = params.assume_init();
        assert_eq!(params.func, kernels.function("add"));
        assert_eq!(**params.kernelParams.cast::<*mut u64>(), kernels.words[0]);
        let (mut word, mut step) = (kernels.words[1], 7u32);
        let mut values = [(&raw mut word).cast(), (&raw mut step).cast()];
        params.kernelParams = values.as_mut_ptr();
        sys::cuGraphExecKernelNodeSetParams_v2(exec, node, &params).result().unwrap();
        result::graph::launch(exec, kernels.stream.cu_stream()).unwrap();
    }
    kernels.stream.synchronize().unwrap();
    assert_eq!([kernels.read(0), kernels.read(1)], [0, 7]);
}
