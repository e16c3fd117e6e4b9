//! Putting the fake driver in front of a real one, and running a test again in other circumstances.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use cuda::FakeDriver;
use tintype_cuda::{CudaStream, OpenError};
use tintype_ops::{Buffer, DType, Stream, Tensor};

/// In the environment of a test that runs as a child: the library to load in place of the fake.
const LIBRARY: &str = "TINTYPE_TEST_LIBRARY";
/// In the environment of every test that runs as a child.
const CHILD: &str = "TINTYPE_TEST_CHILD";

/// Loads the fake driver: whoever looks for `libcuda.so` from now on gets it.
fn load() {
    let library = env::var_os(LIBRARY).map(PathBuf::from);
    let loaded = library.map_or_else(FakeDriver::load, |path| FakeDriver::load_from(&path));
    loaded.unwrap();
}

/// A stream on the fake device, or why there is none.
pub(crate) fn open(ordinal: usize) -> Result<CudaStream, OpenError> {
    load();
    CudaStream::open(ordinal)
}

/// A stream on the fake device.
pub(crate) fn stream() -> CudaStream {
    open(0).unwrap()
}

/// Devices that the fake driver knows, or why there are none.
pub(crate) fn devices() -> Result<Vec<tintype_cuda::DeviceSummary>, OpenError> {
    load();
    tintype_cuda::devices()
}

/// A contiguous tensor in a buffer of its own that holds `values`.
pub(crate) fn tensor<T: bytemuck::NoUninit>(
    stream: &mut CudaStream,
    (rows, cols, dtype): (u32, u32, DType),
    values: &[T],
) -> Tensor {
    let bytes = u64::from(rows) * u64::from(cols) * dtype.size_bytes() as u64;
    let tensor = Tensor::new(stream.alloc(bytes).unwrap(), rows, cols, dtype);
    if !values.is_empty() {
        stream.upload(tensor, bytemuck::cast_slice(values)).unwrap();
    }
    tensor
}

/// What a tensor holds.
pub(crate) fn read<T: bytemuck::Pod>(stream: &mut CudaStream, tensor: Tensor) -> Vec<T> {
    let mut values = vec![T::zeroed(); tensor.num_elements() as usize];
    stream.download(bytemuck::cast_slice_mut(&mut values), tensor).unwrap();
    values
}

/// A buffer of no stream.
pub(crate) const NO_BUFFER: Buffer = Buffer::from_index(u32::MAX);

/// Whether this process runs one test, in circumstances that another test has chosen for it.
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// A test of this program, run again by itself as a process of its own.
pub(crate) struct Child(Command);

impl Child {
    /// The test of this name, e.g. `opening::outcome`.
    pub(crate) fn new(test: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command.env(CHILD, "1");
        Self(command)
    }

    /// With a setting of the fake, e.g. `NO_DEVICE`.
    pub(crate) fn with(mut self, setting: &str, value: &str) -> Self {
        self.0.env(format!("FAKE_CUDA_{setting}"), value);
        self
    }

    /// With another library in place of the fake.
    pub(crate) fn with_library(mut self, path: &Path) -> Self {
        self.0.env(LIBRARY, path);
        self
    }

    /// Runs it, checks that it passes, and gives what it printed.
    pub(crate) fn output(mut self) -> String {
        let output = self.0.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
        assert!(text.contains("1 passed"), "no such test: {text}");
        text
    }
}
