//! The fake driver, and small things that every test makes on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fake_cuda::FakeDriver;
use tintype_cuda::{CudaStream, OpenError};
use tintype_ops::{
    Buffer, DType, SharedBytes, Stream, Tensor, WeightPiece, WeightRole, WeightSource,
};

/// The driver, for one test at a time: there is one in a process, and its settings and faults are
/// everybody's. What is left on its device at the end of a test fails the test.
pub(crate) struct Driver {
    pub(crate) fake: FakeDriver,
    _turn: MutexGuard<'static, ()>,
}

impl Driver {
    /// A driver as it is before the first call.
    pub(crate) fn get() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = Self { fake: FakeDriver::load().unwrap(), _turn: turn };
        driver.fake.reset();
        driver
    }

    /// The same with a setting changed.
    pub(crate) fn with(setting: &str, value: u64) -> Self {
        let driver = Self::get();
        driver.fake.set(setting, value).unwrap();
        driver
    }

    /// A stream, or why there is none.
    pub(crate) fn open(&self, ordinal: usize) -> Result<CudaStream, OpenError> {
        CudaStream::open(ordinal)
    }

    /// A stream.
    pub(crate) fn stream(&self) -> CudaStream {
        self.open(0).unwrap()
    }

    /// What is on the device.
    pub(crate) fn living(&self) -> String {
        self.fake.report("living").unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.living(), "", "left behind");
        }
    }
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

/// `[num_rows, 1]` zeros, 4 bytes each.
pub(crate) fn weight(num_rows: u32) -> WeightSource {
    let bytes = SharedBytes::new(vec![0; num_rows as usize * 4]);
    let piece = WeightPiece { rows: num_rows, bytes };
    WeightSource::new(vec![piece], 1, DType::F32, WeightRole::Plain).unwrap()
}

/// A buffer of no stream.
pub(crate) const NO_BUFFER: Buffer = Buffer::from_index(u32::MAX);
