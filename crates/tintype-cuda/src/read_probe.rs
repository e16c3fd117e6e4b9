//! How fast the device reads: the yardstick of every op that is bound by it.

#![allow(unsafe_code)]

use std::time::Duration;

use tintype_kernels::params::ReadProbeParams;
use tintype_ops::Result;

use crate::driver::{Event, Queue};
use crate::kernels::Kernels;
use crate::launch::{Launch, Workspace};

/// Bytes that a block reads, one after the other: from so many on the order of blocks costs
/// nothing.
const BLOCK_BYTES: u64 = 64 << 10;
const NUM_THREADS: u32 = 256;

/// Sums `len` bytes at `address`, and says how long the device took for it.
///
/// # Errors
/// When the device failed.
pub(crate) fn run(
    kernels: &Kernels,
    queue: &Queue,
    (address, len): (u64, u64),
    workspace: Workspace,
) -> Result<Duration> {
    let launch = launch(address, len, workspace.address);
    let [start, end] = [Event::timed(queue.context())?, Event::timed(queue.context())?];
    start.record(queue)?;
    // SAFETY: the kernel reads exactly the buffer, and writes the sum to the workspace, which is
    // between two ops.
    unsafe { kernels.launch(queue, &launch) }?;
    end.record(queue)?;
    end.synchronize()?;
    Ok(Event::elapsed(&start, &end)?)
}

fn launch(address: u64, len: u64, out: u64) -> Launch {
    let params = ReadProbeParams { out, data: address, num_bytes: len, block_bytes: BLOCK_BYTES };
    let num_blocks = len.div_ceil(BLOCK_BYTES).max(1) as u32;
    Launch::new("read_probe", [num_blocks, 1, 1], [NUM_THREADS, 1, 1], &params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_64_kib() {
        let num_blocks = |len| launch(0, len, 0).grid[0];
        assert_eq!([0, 1, 65_536, 65_537, 16 << 30].map(num_blocks), [1, 1, 1, 2, 1 << 18]);
    }
}
