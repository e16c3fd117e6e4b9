//! Opening a device, and every reason why there is none.

use tintype_cuda::OpenError;
use tintype_ops::{GraphSupport, Stream};

use super::fake::{self, Child};

/// The sentence that a test run as a child prints.
const MARK: &str = "outcome: ";

/// Run by the other tests in their circumstances; in ordinary ones the device opens.
#[test]
fn outcome() {
    match fake::open(0) {
        Ok(stream) => println!("{MARK}{}", stream.device_info().name),
        Err(error) => println!("{MARK}{error}"),
    }
}

fn outcome_of(child: Child) -> String {
    let output = child.output();
    let start = output.find(MARK).expect("the child says what came out") + MARK.len();
    output[start..].lines().next().unwrap_or_default().to_owned()
}

fn outcome_with(setting: &str, value: &str) -> String {
    outcome_of(Child::new("opening::outcome").with(setting, value))
}

#[test]
fn a_device_says_what_it_is() {
    let stream = fake::stream();
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
    let [device] = <[_; 1]>::try_from(fake::devices().unwrap()).unwrap();
    assert_eq!((device.ordinal, device.compute_capability, device.num_sms), (0, (9, 0), 4));
    assert_eq!(device.to_string(), fake::stream().device_info().name);
}

#[test]
fn an_ordinal_out_of_range_is_refused() {
    let error = fake::open(7).err().unwrap();
    assert_eq!(error, OpenError::NoSuchDevice { ordinal: 7, num_devices: 1 });
}

#[test]
fn no_device() {
    let outcome = outcome_with("NO_DEVICE", "1");
    assert!(outcome.starts_with("the CUDA driver finds no device; check nvidia-smi"), "{outcome}");
}

#[test]
fn a_stub_of_the_driver() {
    let outcome = outcome_with("INIT_ERROR", "34");
    assert!(outcome.contains("CUDA_ERROR_STUB_LIBRARY (34)"), "{outcome}");
    assert!(outcome.contains("no stub libcuda.so is in front"), "{outcome}");
}

#[test]
fn an_old_driver() {
    let outcome = outcome_with("DRIVER_VERSION", "12040");
    let expected = "the driver supports CUDA 12.4, the kernels need 13.0; install";
    assert!(outcome.starts_with(expected), "{outcome}");
}

#[test]
fn an_old_device() {
    let outcome = outcome_with("COMPUTE_CAPABILITY", "75");
    let expected = "has compute capability 7.5, the kernels need 8.0; use a newer device";
    assert!(outcome.contains(expected), "{outcome}");
}

#[test]
fn an_older_device_takes_the_other_kernels() {
    let outcome = outcome_with("COMPUTE_CAPABILITY", "80");
    assert!(outcome.contains("sm_80, 4 SMs"), "{outcome}");
}

#[test]
fn too_little_memory() {
    let outcome = outcome_with("MEMORY_BYTES", "1000000");
    let expected = "too little device memory for the workspace";
    assert!(outcome.starts_with(expected), "{outcome}");
}

#[test]
fn a_driver_that_lacks_a_function() {
    let copy = std::env::temp_dir().join(format!("libcuda-{}.so", std::process::id()));
    let library = cuda::beside_executable().unwrap();
    cuda::without_symbol(&library, "cuGraphUpload", &copy).unwrap();
    let outcome = outcome_of(Child::new("opening::outcome").with_library(&copy));
    std::fs::remove_file(&copy).unwrap();
    let expected = "the driver for CUDA 13.0 lacks the function cuGraphUpload; reinstall";
    assert!(outcome.starts_with(expected), "{outcome}");
}
