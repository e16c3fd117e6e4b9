//! The streams that backend-independent tests run on.

use std::sync::LazyLock;

use fake_cuda::FakeDriver;
use tintype_cpu::CpuStream;
use tintype_cuda::CudaStream;
use tintype_ops::{ReadProbe, Stream};

/// A stream that a test can open for itself.
pub(crate) trait TestStream: Stream + ReadProbe + Sized {
    /// Whether activations of 16-bit weights are rounded to 16 bits too.
    const ROUNDS_ACTIVATIONS: bool;

    /// A stream that nothing else uses.
    fn open() -> Self;

    /// How much of something a test does: `few` where an interpreter runs the kernels.
    fn size(full: usize, few: usize) -> usize {
        let _ = few;
        full
    }
}

impl TestStream for CpuStream {
    const ROUNDS_ACTIVATIONS: bool = false;

    fn open() -> Self {
        Self::new(Some(2)).unwrap()
    }
}

/// On the fake driver, or on this machine's GPU with `TINTYPE_TEST_DEVICE=gpu`: one process has
/// one driver.
impl TestStream for CudaStream {
    const ROUNDS_ACTIVATIONS: bool = true;

    fn open() -> Self {
        LazyLock::force(&FAKE_DRIVER);
        Self::open(0).unwrap()
    }

    fn size(full: usize, few: usize) -> usize {
        if FAKE_DRIVER.is_some() { few } else { full }
    }
}

/// Enough for a stream in each of the threads that run tests, on machines with many; one byte less
/// than what gives each of them a large workspace. Memory that nothing allocates costs nothing.
const FAKE_MEMORY_BYTES: u64 = (4 << 30) - 1;

/// The fake driver, loaded before any other can be; `None` where tests run on a GPU.
pub(crate) static FAKE_DRIVER: LazyLock<Option<FakeDriver>> = LazyLock::new(|| {
    let is_gpu = std::env::var("TINTYPE_TEST_DEVICE").is_ok_and(|device| device == "gpu");
    (!is_gpu).then(|| {
        let driver = FakeDriver::load().unwrap();
        driver.set("summary", 1).unwrap();
        driver.set("memory_bytes", FAKE_MEMORY_BYTES).unwrap();
        driver
    })
});

/// Runs each test, a function that is generic over its stream, on every kind of stream there is.
macro_rules! on_each_stream {
    ($($test:ident),* $(,)?) => {
        mod on_cpu {
            $(#[test] fn $test() { super::$test::<tintype_cpu::CpuStream>() })*
        }
        $crate::streams::on_cuda! { $($test),* }
    };
}

/// Runs each test on CUDA alone: what it compares with is the CPU.
macro_rules! on_cuda {
    ($($test:ident),* $(,)?) => {
        mod on_cuda {
            $(#[test] fn $test() { super::$test::<tintype_cuda::CudaStream>() })*
        }
    };
}

pub(crate) use {on_cuda, on_each_stream};
