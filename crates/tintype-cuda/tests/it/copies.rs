//! Copies between host and device, and what fresh memory holds.

use tintype_ops::{DType, Error, ReadProbe, Stream, Tensor};

use super::fake::{Driver, NO_BUFFER, read, tensor};

/// Values that count up from `first`.
fn count_up(first: u32, len: u32) -> Vec<u32> {
    (first..first + len).collect()
}

#[test]
fn what_is_uploaded_is_downloaded() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    for len in [1, 3, 1000, 65_536, 300_001] {
        let values = count_up(7, len);
        let tensor = tensor(&mut stream, (len, 1, DType::U32), &values);
        assert_eq!(read::<u32>(&mut stream, tensor), values, "{len} values");
    }
}

#[test]
fn rows_with_gaps_are_copied_without_touching_the_gaps() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let whole = tensor(&mut stream, (50, 12, DType::U32), &vec![0u32; 600]);
    let part = whole.columns(2, 7);
    let values = count_up(1, 350);
    stream.upload(part, bytemuck::cast_slice(&values)).unwrap();
    assert_eq!(read::<u32>(&mut stream, part), values);
    let expected: Vec<u32> = (0..50)
        .flat_map(|row| {
            (0..12).map(move |col| if (2..9).contains(&col) { row * 7 + col - 1 } else { 0 })
        })
        .collect();
    assert_eq!(read::<u32>(&mut stream, whole), expected);
}

/// The device reads the staging memory when a copy runs, which on the fake is as late as possible.
#[test]
fn many_uploads_in_a_row_each_keep_their_bytes() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let tensors: Vec<(Tensor, Vec<u32>)> = (0..40)
        .map(|index| {
            let values = count_up(index * 100_000, 9000);
            (tensor(&mut stream, (9000, 1, DType::U32), &values), values)
        })
        .collect();
    for (tensor, values) in tensors {
        assert_eq!(read::<u32>(&mut stream, tensor), values);
    }
}

#[test]
fn the_source_may_be_reused_at_once() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let target = tensor::<u32>(&mut stream, (4, 1, DType::U32), &[]);
    let mut source = [1u32, 2, 3, 4];
    stream.upload(target, bytemuck::cast_slice(&source)).unwrap();
    source.fill(9);
    assert_eq!(read::<u32>(&mut stream, target), [1, 2, 3, 4]);
}

#[test]
fn fresh_memory_is_nan_in_debug_builds() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let fresh = tensor::<f32>(&mut stream, (64, 1, DType::F32), &[]);
    if cfg!(debug_assertions) {
        assert!(read::<f32>(&mut stream, fresh).iter().all(|value| value.is_nan()));
    }
}

#[test]
fn an_empty_buffer_is_a_buffer() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let buffer = stream.alloc(0).unwrap();
    let empty = Tensor::new(buffer, 0, 1, DType::F32);
    stream.upload(empty, &[]).unwrap();
    stream.download(&mut [], empty).unwrap();
    let beyond = Tensor::new(buffer, 1, 1, DType::F32);
    assert!(matches!(stream.upload(beyond, &[0; 4]), Err(Error::OutOfBounds { len: 0, .. })));
}

#[test]
fn copies_of_the_wrong_size_or_place_are_refused() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let values = tensor(&mut stream, (2, 4, DType::F32), &[0f32; 8]);
    let expected = Error::HostCopySize { found_bytes: 3, expected_bytes: 32 };
    assert_eq!(stream.upload(values, &[0; 3]), Err(expected.clone()));
    assert_eq!(stream.download(&mut [0; 3], values), Err(expected));
    let beyond = Tensor { offset: 1, ..values };
    let expected = Error::OutOfBounds { buffer: values.buffer.index(), start: 4, end: 36, len: 32 };
    assert_eq!(stream.upload(beyond, &[0; 32]), Err(expected));
    let elsewhere = Tensor { buffer: NO_BUFFER, ..values };
    assert!(matches!(stream.upload(elsewhere, &[0; 32]), Err(Error::OutOfBounds { .. })));
    let overlapping = Tensor { stride: 3, ..values };
    assert!(matches!(stream.upload(overlapping, &[0; 32]), Err(Error::InvalidOp { .. })));
}

#[test]
fn a_buffer_is_read_by_the_probe() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let buffer = stream.alloc(100_003).unwrap();
    stream.read_probe(buffer).unwrap();
    assert_eq!(stream.counters().num_launches, 1);
    assert!(matches!(stream.read_probe(NO_BUFFER), Err(Error::OutOfBounds { .. })));
}
