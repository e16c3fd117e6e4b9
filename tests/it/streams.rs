//! The streams that backend-independent tests run on.

use tintype_cpu::CpuStream;
use tintype_ops::{ReadProbe, Stream};

/// A stream that a test can open for itself.
pub(crate) trait TestStream: Stream + ReadProbe + Sized {
    /// A stream that nothing else uses.
    fn open() -> Self;
}

impl TestStream for CpuStream {
    fn open() -> Self {
        Self::new(Some(2)).unwrap()
    }
}

/// Runs each test, a function that is generic over its stream, on every kind of stream there is.
macro_rules! on_each_stream {
    ($($test:ident),* $(,)?) => {
        mod on_cpu {
            $(#[test] fn $test() { super::$test::<tintype_cpu::CpuStream>() })*
        }
    };
}

pub(crate) use on_each_stream;
