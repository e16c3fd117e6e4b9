//! `cargo xtask ci`: the steps that every change must pass, the quick ones first.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// One call of cargo.
struct Step {
    /// Arguments after `cargo`.
    args: &'static [&'static str],
    /// A variable that the call needs in its environment.
    env: Option<(&'static str, &'static str)>,
}

const STEPS: &[Step] = &[
    Step { args: &["fmt", "--all", "--check"], env: None },
    Step { args: &["xtask", "tidy"], env: None },
    Step { args: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], env: None },
    Step { args: &["doc", "--workspace", "--no-deps"], env: Some(("RUSTDOCFLAGS", "-D warnings")) },
    Step { args: &["test", "--workspace"], env: None },
];

/// Runs each step in `root` and prints its time.
///
/// # Errors
/// The first step that fails, with the command that repeats it alone.
pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    for step in STEPS {
        step.run(root)?;
    }
    println!("ci: {} steps passed in {:.1} s", STEPS.len(), start.elapsed().as_secs_f64());
    Ok(())
}

impl Step {
    fn run(&self, root: &Path) -> Result<()> {
        let (line, start) = (self.command_line(), Instant::now());
        println!("ci: {line}");
        let status = Command::new("cargo")
            .args(self.args)
            .envs(self.env)
            .current_dir(root)
            .status()
            .with_context(|| format!("cannot start `{line}`: is cargo on the PATH?"))?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(status.success(), "failed after {seconds:.1} s; to repeat this step: {line}");
        println!("ci: passed in {seconds:.1} s");
        Ok(())
    }

    /// The step as one would type it into a shell.
    fn command_line(&self) -> String {
        let variable = self.env.map(|(name, value)| format!("{name}={value:?} "));
        format!("{}cargo {}", variable.unwrap_or_default(), self.args.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_says_how_to_repeat_it() {
        let step = Step { args: &["no-such-command"], env: Some(("KEY", "two words")) };
        let message = step.run(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err().to_string();
        assert!(message.ends_with(r#"KEY="two words" cargo no-such-command"#), "{message}");
    }

    #[test]
    fn a_passing_step_is_no_error() {
        Step { args: &["--version"], env: None }
            .run(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap();
    }
}
