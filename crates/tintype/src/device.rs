//! The choice of the device, made once. Everything behind it is generic over the stream.

use std::fmt;

use anyhow::Result;
use tintype_cpu::CpuStream;
use tintype_cuda::{CudaStream, OpenError};
use tintype_ops::{ReadProbe, Stream};

use crate::args::{DeviceArgs, DeviceChoice};
use crate::console::Console;

/// A device that cannot be used, with what to do about it.
#[derive(Debug)]
pub(crate) struct Unavailable {
    device: DeviceChoice,
    /// Why it cannot be used.
    pub(crate) error: OpenError,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no device {}: {}", self.device, self.error)
    }
}

impl std::error::Error for Unavailable {}

/// Something that any device can run; a closure cannot be generic.
pub(crate) trait Job {
    /// What comes out of it.
    type Output;

    /// Runs on a stream that is this job's alone.
    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<Self::Output>;
}

/// Opens the device that the user chose and runs `job` on it.
pub(crate) fn with_stream<J: Job>(
    args: DeviceArgs,
    console: &Console,
    job: J,
) -> Result<J::Output> {
    match args.device {
        DeviceChoice::Auto => match CudaStream::open(0) {
            Ok(stream) => {
                console.line(format_args!("device: {}", stream.device_info().name));
                job.run(stream)
            }
            Err(error) => {
                let stream = cpu(args)?;
                let name = stream.device_info().name;
                console.line(format_args!("device: {name}, since {}", error.reason()));
                job.run(stream)
            }
        },
        DeviceChoice::Cpu => job.run(cpu(args)?),
        DeviceChoice::Cuda(ordinal) => match CudaStream::open(ordinal as usize) {
            Ok(stream) => job.run(stream),
            Err(error) => Err(Unavailable { device: args.device, error }.into()),
        },
    }
}

/// Every device there might be: the CPU, each CUDA device, and `cuda:0` also where there is none,
/// so that one learns why.
pub(crate) fn candidates() -> Vec<DeviceChoice> {
    let num_cuda = tintype_cuda::devices().map_or(1, |devices| devices.len().max(1));
    let cuda = (0..num_cuda as u32).map(DeviceChoice::Cuda);
    [DeviceChoice::Cpu].into_iter().chain(cuda).collect()
}

fn cpu(args: DeviceArgs) -> Result<CpuStream> {
    Ok(CpuStream::new(args.threads.map(usize::from))?)
}
