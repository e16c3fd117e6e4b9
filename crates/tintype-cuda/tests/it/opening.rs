//! Opening a device, and every reason why there is none.

use tintype_cuda::OpenError;
use tintype_ops::{GraphSupport, Stream};

use super::fake::Driver;

/// Why there is no stream on a driver with this setting.
fn reason_with(setting: &str, value: u64) -> OpenError {
    Driver::with(setting, value).open(0).err().unwrap()
}

#[test]
fn a_device_says_what_it_is() {
    let driver = Driver::get();
    let stream = driver.stream();
    let info = stream.device_info();
    assert!(info.name.starts_with("cuda:0 ("), "{}", info.name);
    assert!(info.name.ends_with(", sm_90, 4 SMs)"), "{}", info.name);
    assert_eq!((info.num_workers, info.can_capture), (4, true));
    assert_eq!(info.graph_support, GraphSupport::Always);
    let memory = stream.memory_info().unwrap();
    assert!(0 < memory.free_bytes && memory.free_bytes < memory.total_bytes);
}

#[test]
fn devices_are_listed_without_opening_them() {
    let driver = Driver::get();
    let [device] = <[_; 1]>::try_from(tintype_cuda::devices().unwrap()).unwrap();
    assert_eq!((device.ordinal, device.compute_capability, device.num_sms), (0, (9, 0), 4));
    assert_eq!(driver.living(), "");
    assert_eq!(device.to_string(), driver.stream().device_info().name);
}

#[test]
fn an_ordinal_out_of_range_is_refused() {
    let error = Driver::get().open(7).err().unwrap();
    assert_eq!(error, OpenError::NoSuchDevice { ordinal: 7, num_devices: 1 });
}

#[test]
fn no_device() {
    assert_eq!(reason_with("no_device", 1), OpenError::NoDevice);
}

#[test]
fn a_stub_of_the_driver() {
    let error = reason_with("init_error", 34);
    assert!(matches!(error, OpenError::DriverFailed { .. }), "{error}");
    assert!(error.reason().contains("CUDA_ERROR_STUB_LIBRARY (34)"), "{error}");
}

#[test]
fn an_old_driver() {
    let error = reason_with("driver_version", 12_040);
    let expected = "the driver supports CUDA 12.4, the kernels need 13.0";
    assert_eq!(error.reason(), expected);
}

#[test]
fn an_old_device() {
    let error = reason_with("compute_capability", 75);
    let expected = "has compute capability 7.5, the kernels need 8.0";
    assert!(error.reason().ends_with(expected), "{error}");
}

#[test]
fn an_older_device_takes_the_other_kernels() {
    for compute_capability in [80, 89] {
        let driver = Driver::with("compute_capability", compute_capability);
        let name = driver.stream().device_info().name;
        assert!(name.ends_with(&format!(", sm_{compute_capability}, 4 SMs)")), "{name}");
    }
}

#[test]
fn too_little_memory() {
    let error = reason_with("memory_bytes", 1_000_000);
    let expected = "too little device memory for the workspace, 0 MiB are free";
    assert_eq!(error.reason(), expected);
}
