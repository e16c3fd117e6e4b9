//! What the header of a file may say, and what not.

use super::*;

fn parse(header: &str, num_data_bytes: usize) -> Result<SafetensorsFile, ModelError> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..num_data_bytes).map(|byte| byte as u8));
    SafetensorsFile::parse("a.safetensors".into(), SharedBytes::new(bytes))
}

#[track_caller]
fn check_refused(header: &str, num_data_bytes: usize, expected: &str) {
    let message = parse(header, num_data_bytes).err().map(|error| error.to_string());
    let message = message.unwrap_or_else(|| "parsed".into());
    assert!(message.contains(expected), "found:    {message}\nexpected: {expected}");
}

#[test]
fn tensors_are_parts_of_the_file() {
    let header = r#"{"a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},
        "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"__metadata__":{"format":"pt"}}"#;
    let file = parse(header, 8).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((file.size_bytes("a"), file.size_bytes("c")), (4, 0));
    let a = file.tensor("a").unwrap().unwrap();
    assert_eq!(
        (a.dtype, &a.shape[..], a.bytes.as_slice()),
        (DType::F16, &[2, 1][..], &[0, 1, 2, 3][..])
    );
    assert_eq!(file.tensor("b").unwrap().unwrap().bytes.as_slice(), [4, 5, 6, 7]);
    assert!(file.tensor("c").unwrap().is_none());
}

#[test]
fn a_file_without_tensors_is_a_file() {
    assert_eq!(parse("{}", 0).unwrap().names().count(), 0);
}

#[test]
fn names_must_differ() {
    let twice = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
        "\u0061":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
    check_refused(twice, 4, r#""a" occurs twice"#);
}

#[test]
fn tensors_must_fill_the_file_without_overlap() {
    let two = |b: &str| {
        let a = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"#;
        format!(r#"{a}"b":{{"dtype":"F16","shape":[2],"data_offsets":{b}}}}}"#)
    };
    assert!(parse(&two("[4,8]"), 8).is_ok());
    check_refused(&two("[2,6]"), 6, "invalid offset for tensor `b`");
    check_refused(&two("[6,10]"), 10, "invalid offset for tensor `b`");
    check_refused(&two("[4,8]"), 7, "(the file has");
    check_refused(&two("[4,8]"), 9, "not fully covered");
    check_refused(&two("[8,4]"), 8, "a.safetensors is truncated or corrupt");
    check_refused(&two("[4,18446744073709551615]"), 8, "truncated or corrupt");
}

#[test]
fn shapes_must_have_the_bytes_that_they_are_given() {
    let one = |dtype: &str, shape: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,4]}}}}"#)
    };
    assert!(parse(&one("F16", "[2]"), 4).is_ok());
    check_refused(&one("F16", "[3]"), 4, "invalid shape, data type, or offset");
    check_refused(&one("F16", "[4294967296,4294967296]"), 4, "overflow");
    check_refused(&one("F16", "[-2]"), 4, "invalid JSON in header");
    check_refused(&one("F99", "[2]"), 4, "invalid JSON in header");
}

#[test]
fn a_header_must_lie_inside_the_file() {
    for bytes in [&b""[..], b"\x02", b"\x02\0\0\0\0\0\0\0{", b"\xff\xff\xff\xff\xff\xff\xff\xff{}"]
    {
        let parsed = SafetensorsFile::parse("a".into(), SharedBytes::new(bytes));
        let message = parsed.err().unwrap().to_string();
        assert!(message.contains("a is truncated or corrupt: "), "{message}");
    }
}

#[test]
fn other_dtypes_are_refused_when_they_are_asked_for() {
    let file = parse(r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, 8).unwrap();
    let message = file.tensor("a").err().unwrap().to_string();
    assert!(message.contains("tensor a is I64, expected F32, F16 or BF16"), "{message}");
}
