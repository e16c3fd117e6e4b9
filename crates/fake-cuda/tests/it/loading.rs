//! Loading: what is found, and what a program is told when something is amiss.

use cudarc::driver::{CudaContext, result, sys};

use crate::{Turn, code};

#[test]
fn cudarc_finds_the_library_that_was_loaded_by_path() {
    let turn = Turn::take();
    let before = turn.driver.get("calls").unwrap();
    let context = turn.context();
    assert_eq!(context.name().unwrap(), "fake-cuda (interpreted PTX)");
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    assert!(turn.driver.get("calls").unwrap() > before);
    assert!(turn.driver.get("cuDevicePrimaryCtxRetain").unwrap() > 0);
}

#[test]
fn settings_shape_the_device() {
    let turn = Turn::take();
    turn.driver.set("num_sms", 7).unwrap();
    turn.driver.set("compute_capability", 80).unwrap();
    turn.driver.set("memory_bytes", 1 << 20).unwrap();
    let context = turn.context();
    let attribute = |a| context.attribute(a).unwrap();
    use sys::CUdevice_attribute as A;
    assert_eq!(attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 7);
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    assert_eq!(attribute(A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 163 << 10);
    assert_eq!(result::mem_get_info().unwrap(), (1 << 20, 1 << 20));
    assert_eq!(turn.driver.set("num_sms", 8).unwrap_err().code, 401);
    assert_eq!(turn.driver.set("nosuch", 8).unwrap_err().code, 500);
}

#[test]
fn no_device_and_stub_library() {
    let turn = Turn::take();
    turn.driver.set("no_device", 1).unwrap();
    assert_eq!(code(CudaContext::new(0)), sys::CUresult::CUDA_ERROR_NO_DEVICE);
    turn.driver.set("init_error", 34).unwrap();
    assert_eq!(code(CudaContext::new(0)), sys::CUresult::CUDA_ERROR_STUB_LIBRARY);
    turn.driver.set("init_error", 0).unwrap();
    assert_eq!(code(CudaContext::new(1)), sys::CUresult::CUDA_ERROR_INVALID_DEVICE);
}

#[test]
fn an_old_driver_says_its_version_and_refuses_newer_ptx() {
    let turn = Turn::take();
    turn.driver.set("driver_version", 12020).unwrap();
    let mut version = 0;
    // SAFETY: the call stores an integer.
    unsafe { sys::cuDriverGetVersion(&mut version).result().unwrap() };
    assert_eq!(version, 12020);
    let _context = turn.context();
    let ptx = c".version 9.0\n.target sm_80\n.address_size 64\n";
    // SAFETY: terminated text.
    let module = unsafe { result::module::load_data(ptx.as_ptr().cast()) };
    assert_eq!(code(module), sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    let why = turn.driver.report("failure").unwrap();
    assert!(why.contains("9.0") && why.contains("8.2"), "{why}");
}

#[test]
fn a_library_can_lack_a_function() {
    let turn = Turn::take();
    let library = fake_cuda::beside_executable().unwrap();
    let copy = std::env::temp_dir().join(format!("libcuda-{}.so", std::process::id()));
    assert!(fake_cuda::without_symbol(&library, "cuNoSuchFunction", &copy).is_err());
    assert!(!copy.exists());
    // Without one of its own functions, the copy is no fake driver any more.
    let written = fake_cuda::without_symbol(&library, "fakeCudaReset", &copy);
    let loaded = fake_cuda::FakeDriver::load_from(&copy);
    // Before anything is asserted, so that no failure leaves it behind.
    std::fs::remove_file(&copy).unwrap();
    written.unwrap();
    let error = loaded.unwrap_err();
    assert!(error.to_string().contains("fakeCudaReset"), "{error}");
    drop(turn);
}
