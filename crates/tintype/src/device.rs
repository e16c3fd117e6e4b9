//! The choice of the device, made once. Everything behind it is generic over the stream.

use std::fmt;

use anyhow::Result;
use tintype_cpu::CpuStream;
use tintype_ops::{ReadProbe, Stream};

use crate::args::{DeviceArgs, DeviceChoice};
use crate::console::Console;

/// A device that cannot be used, with what to do about it.
#[derive(Debug)]
pub(crate) struct Unavailable {
    device: DeviceChoice,
    /// Why it cannot be used.
    pub(crate) reason: &'static str,
    /// What to do.
    pub(crate) fix: &'static str,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no device {}: {}; {}", self.device, self.reason, self.fix)
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
        DeviceChoice::Auto => {
            let stream = cpu(args)?;
            console.line(format_args!("device: {}", stream.device_info().name));
            job.run(stream)
        }
        DeviceChoice::Cpu => job.run(cpu(args)?),
        DeviceChoice::Cuda(_) => Err(Unavailable {
            device: args.device,
            reason: "this build has no CUDA backend yet",
            fix: "use --device cpu",
        }
        .into()),
    }
}

fn cpu(args: DeviceArgs) -> Result<CpuStream> {
    Ok(CpuStream::new(args.threads.map(usize::from))?)
}
