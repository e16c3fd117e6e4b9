//! What the process must have in its environment before a driver starts.

use std::process::Command;

use tintype_cuda::RECOMMENDED_ENVIRONMENT;

use crate::args::DeviceChoice;

/// Starts this process anew, under the same number, where its environment lacks what `device`
/// wants. What the user has set stays. Where that does not work, the program merely starts more
/// slowly.
pub(crate) fn prepare(device: DeviceChoice) {
    let missing =
        RECOMMENDED_ENVIRONMENT.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let missing: Vec<_> = missing.collect();
    if device == DeviceChoice::Cpu || missing.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut anew = Command::new(program);
    anew.args(std::env::args_os().skip(1)).envs(missing.into_iter().copied());
    replace_process(anew);
}

#[cfg(unix)]
fn replace_process(mut command: Command) {
    use std::os::unix::process::CommandExt;
    // Returns only where it fails.
    _ = command.exec();
}

#[cfg(not(unix))]
fn replace_process(_command: Command) {}
