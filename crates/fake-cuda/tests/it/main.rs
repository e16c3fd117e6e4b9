//! The library as a program sees it: loaded by path, then used through cudarc.
#![allow(unsafe_code, reason = "cudarc's lower layers are unsafe")]
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

mod capture;
mod copies;
mod injection;
mod kernels;
mod loading;
mod model;
mod objects;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, sys};
use fake_cuda::FakeDriver;

/// The driver is one per process: tests take turns, and each starts anew.
static TURN: Mutex<()> = Mutex::new(());

/// A test's turn with the driver.
struct Turn {
    driver: FakeDriver,
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    fn take() -> Turn {
        let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = FakeDriver::load().unwrap();
        driver.reset();
        Turn { driver, _guard: guard }
    }

    /// A context as our backend opens it: events are nobody's but ours.
    fn context(&self) -> Arc<CudaContext> {
        let context = CudaContext::new(0).unwrap();
        // SAFETY: the tests order their streams themselves.
        unsafe { context.disable_event_tracking() };
        context
    }
}

/// The code of a call that should have failed.
fn code<T>(result: Result<T, cudarc::driver::DriverError>) -> sys::CUresult {
    result.err().map_or(sys::CUresult::CUDA_SUCCESS, |error| error.0)
}
