//! A driver that lacks a function. A process of its own, since a driver that is loaded stays.

use fake_cuda::FakeDriver;
use tintype_cuda::{CudaStream, OpenError, Version};

#[test]
fn it_is_found_before_anything_is_called() {
    let copy = std::env::temp_dir().join(format!("libcuda-{}.so", std::process::id()));
    let library = fake_cuda::beside_executable().unwrap();
    let written = fake_cuda::without_symbol(&library, "cuGraphUpload", &copy);
    let fake = FakeDriver::load_from(&copy);
    // Before anything is asserted, so that no failure leaves it behind.
    std::fs::remove_file(&copy).unwrap();
    written.unwrap();
    let error = CudaStream::open(0).err().unwrap();
    let version = Some(Version { major: 13, minor: 0 });
    assert_eq!(error, OpenError::MissingSymbol { symbol: "cuGraphUpload", version });
    assert_eq!(tintype_cuda::devices(), Err(error));
    assert_eq!(fake.unwrap().get("cuInit").unwrap(), 0);
}
