//! What the fake device is, and what is to go wrong: settings from the environment or by call.

use crate::error::{Code, Result};

/// Prefix of the environment variables that `cuInit` reads.
const PREFIX: &str = "FAKE_CUDA_";

/// The device and the faults to inject. Every number is settable by name: see [`Config::set`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Multiprocessors. Few, so that grids sized by the chip stay cheap to interpret.
    pub(crate) num_sms: u32,
    /// Compute capability, major × 10 + minor.
    pub(crate) compute_capability: u32,
    /// Device memory.
    pub(crate) memory_bytes: u64,
    /// What `cuDriverGetVersion` says, and with it the newest PTX that loads.
    pub(crate) driver_version: u32,
    /// 0 for program order; anything else permutes lanes, warps, blocks and independent nodes.
    pub(crate) seed: u64,
    /// Most warp instructions of one thread block; beyond, a kernel counts as hanging.
    pub(crate) max_steps: u64,
    /// Result of `cuInit`: 100 is a machine without a device, 34 a stub library.
    pub(crate) init_error: u32,
    /// Countdown: the n-th allocation from now fails with 2. 0 is never; so below.
    pub(crate) fail_alloc: u64,
    /// Countdown: the n-th launch call from now, graph launches included, fails with 701.
    pub(crate) fail_launch: u64,
    /// Countdown: the n-th kernel to run from now faults with 719.
    pub(crate) fault_kernel: u64,
    /// Countdown: from the n-th call from now on the device is gone, 46.
    pub(crate) device_lost: u64,
    /// Whether every failing call is explained on standard error.
    pub(crate) trace: bool,
    /// Whether standard error says what was done when the process ends.
    pub(crate) summary: bool,
    /// A symbol that `cuGetProcAddress` does not find.
    pub(crate) missing_symbol: Option<String>,
    /// The file to which counters and leaks are appended when the process ends.
    pub(crate) report: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_sms: 4,
            compute_capability: 90,
            memory_bytes: 1 << 30,
            driver_version: 13000,
            seed: 0,
            max_steps: 1_000_000_000,
            init_error: 0,
            fail_alloc: 0,
            fail_launch: 0,
            fault_kernel: 0,
            device_lost: 0,
            trace: false,
            summary: false,
            missing_symbol: None,
            report: None,
        }
    }
}

impl Config {
    /// The defaults, overridden by `FAKE_CUDA_*` variables as `variables` gives them.
    ///
    /// # Errors
    /// `INVALID_VALUE` for an unknown name or a value that is not a number.
    pub(crate) fn from_variables(
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Config> {
        let mut config = Config::default();
        for (key, value) in variables {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            config.set_text(&name.to_ascii_lowercase(), &value)?;
        }
        Ok(config)
    }

    fn set_text(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "missing_symbol" => self.missing_symbol = Some(value.to_owned()),
            "report" => self.report = Some(value.to_owned()),
            _ => {
                // A capability may be written as 9.0 or as 90.
                let digits = match name {
                    "compute_capability" => value.replacen('.', "", 1),
                    _ => value.to_owned(),
                };
                let number = digits.trim().parse().map_err(|_| {
                    let variable = format!("{PREFIX}{}", name.to_ascii_uppercase());
                    Code::INVALID_VALUE.because(format!("{variable}={value} is not a number"))
                })?;
                self.set(name, number)?;
            }
        }
        Ok(())
    }

    /// Changes the setting called `name`: the field's name, or `no_device` (1).
    ///
    /// # Errors
    /// `NOT_FOUND` for a name that no setting has, `INVALID_VALUE` for a value out of range.
    pub(crate) fn set(&mut self, name: &str, value: u64) -> Result<()> {
        let out_of_range = || Code::INVALID_VALUE.because(format!("{name} cannot be {value}"));
        let narrow = || u32::try_from(value).map_err(|_| out_of_range());
        let positive = || narrow().and_then(|v| if v == 0 { Err(out_of_range()) } else { Ok(v) });
        match name {
            "num_sms" => self.num_sms = positive()?,
            "compute_capability" => self.compute_capability = positive()?,
            "memory_bytes" => self.memory_bytes = value,
            "driver_version" => self.driver_version = positive()?,
            "seed" => self.seed = value,
            "max_steps" => self.max_steps = value,
            "init_error" => self.init_error = narrow()?,
            "no_device" => self.init_error = if value == 0 { 0 } else { Code::NO_DEVICE.0 },
            "fail_alloc" => self.fail_alloc = value,
            "fail_launch" => self.fail_launch = value,
            "fault_kernel" => self.fault_kernel = value,
            "device_lost" => self.device_lost = value,
            "trace" => self.trace = value != 0,
            "summary" => self.summary = value != 0,
            _ => return Code::NOT_FOUND.err(format!("there is no setting called {name}")),
        }
        Ok(())
    }

    /// The newest PTX ISA that the driver compiles, as (major, minor). From the release notes in
    /// the PTX ISA manual; 9.0 at driver 13.0 was seen on a GPU.
    pub(crate) fn newest_ptx(&self) -> (u32, u32) {
        match (self.driver_version / 1000, self.driver_version % 1000 / 10) {
            (13.., minor) => (9, minor),
            (12, minor) => (8, [0, 1, 2, 3, 4, 5, 5, 6, 7, 8][minor.min(9) as usize]),
            (11, minor) => (7, minor.min(8)),
            _ => (6, 5),
        }
    }
}

/// Whether a countdown ends now: it counts down to 0, where it rests.
pub(crate) fn expires(countdown: &mut u64) -> bool {
    let armed = *countdown > 0;
    *countdown = countdown.saturating_sub(1);
    armed && *countdown == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config> {
        Config::from_variables(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())))
    }

    #[test]
    fn reads_its_own_variables_only() {
        let config =
            from(&[("FAKE_CUDA_NUM_SMS", "7"), ("HOME", "x"), ("FAKE_CUDA_REPORT", "leaks.txt")]);
        let config = config.unwrap();
        assert_eq!(config.num_sms, 7);
        let capability = |value| from(&[("FAKE_CUDA_COMPUTE_CAPABILITY", value)]).unwrap();
        assert_eq!(capability("8.0"), capability("80"));
        assert_eq!(config.report.as_deref(), Some("leaks.txt"));
    }

    #[test]
    fn says_which_variable_is_wrong() {
        let error = from(&[("FAKE_CUDA_SEED", "many")]).unwrap_err();
        assert_eq!(error.code, Code::INVALID_VALUE);
        assert_eq!(error.why, "FAKE_CUDA_SEED=many is not a number");
        assert_eq!(from(&[("FAKE_CUDA_SEEED", "1")]).unwrap_err().code, Code::NOT_FOUND);
        assert_eq!(from(&[("FAKE_CUDA_NUM_SMS", "0")]).unwrap_err().code, Code::INVALID_VALUE);
    }

    #[test]
    fn ptx_follows_the_driver() {
        let ptx = |driver_version| Config { driver_version, ..Config::default() }.newest_ptx();
        assert_eq!(
            [ptx(13000), ptx(12080), ptx(12060), ptx(12020)],
            [(9, 0), (8, 7), (8, 5), (8, 2)]
        );
    }

    #[test]
    fn a_countdown_ends_once() {
        let mut countdown = 2;
        let ends: Vec<bool> = (0..4).map(|_| expires(&mut countdown)).collect();
        assert_eq!(ends, [false, true, false, false]);
    }
}
