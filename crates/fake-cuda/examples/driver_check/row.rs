//! A row of the driver's model: a rule, what the driver answers, and the program that asks it.

use crate::gpu::Gpu;

/// Where a rule comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A GPU answered so.
    Seen,
    /// The driver API's manual says so, and a GPU answered so.
    Manual,
}

impl Source {
    /// The source in words, and whether it was seen on a GPU.
    pub(crate) fn columns(self) -> (&'static str, &'static str) {
        match self {
            Source::Seen => ("H200, driver 580.159", "yes"),
            Source::Manual => ("CUDA driver API documentation; H200, driver 580.159", "yes"),
        }
    }
}

/// How a row is run.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// In one process with the others of its kind: the driver is as good as new afterwards.
    Shared(fn(&Gpu) -> String),
    /// The same on streams that wait for the legacy stream.
    Blocking(fn(&Gpu) -> String),
    /// In a process of its own, since it leaves the device with a fault.
    Alone(fn(&Gpu) -> String),
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// Its number, e.g. `CAP-01`.
    pub(crate) id: &'static str,
    /// The rule in words.
    pub(crate) rule: &'static str,
    /// What a driver answers.
    pub(crate) driver: &'static str,
    /// What the fake driver answers, where it is stricter on purpose.
    pub(crate) fake: Option<&'static str>,
    /// Where the rule comes from.
    pub(crate) source: Source,
    /// The program.
    pub(crate) check: Check,
}

impl Row {
    /// A row that a GPU has confirmed.
    pub(crate) const fn seen(
        id: &'static str,
        rule: &'static str,
        driver: &'static str,
        check: Check,
    ) -> Row {
        Row { id, rule, driver, fake: None, source: Source::Seen, check }
    }

    /// The same row from another source.
    pub(crate) const fn from(self, source: Source) -> Row {
        Row { source, ..self }
    }

    /// The same row, for which the fake driver answers something stricter.
    pub(crate) const fn stricter(self, fake: &'static str) -> Row {
        Row { fake: Some(fake), ..self }
    }

    /// What the driver at hand should answer.
    pub(crate) fn expected(&self, is_fake: bool) -> &'static str {
        self.fake.filter(|_| is_fake).unwrap_or(self.driver)
    }
}
