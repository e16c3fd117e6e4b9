//! The stream on a driver that runs on the CPU: `fake-cuda`.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod capture;
mod copies;
mod errors;
mod fake;
mod opening;
mod weights;
