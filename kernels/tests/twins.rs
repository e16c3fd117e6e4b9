//! Parameters in C++ and in Rust have the same fields, in the same order and of the same types.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Names and Rust types of the fields of each struct, by the struct's name.
type Structs = BTreeMap<String, Vec<(String, String)>>;

/// The structs in the files of `folder`, each of which begins with `keyword`.
fn structs(
    folder: &str,
    keyword: &str,
    field: impl Fn(&str) -> Option<(String, String)>,
) -> Structs {
    let mut structs = Structs::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let code: String = text.lines().map(|line| without_comment(line) + "\n").collect();
        for declaration in code.split(keyword).skip(1) {
            let Some((name, rest)) = declaration.split_once('{') else { continue };
            let body = rest.split('}').next().unwrap();
            let fields = body.split([';', ',']).filter_map(|part| field(part.trim())).collect();
            structs.insert(name.trim().to_owned(), fields);
        }
    }
    structs
}

fn without_comment(line: &str) -> String {
    line.split("//").next().unwrap().to_owned()
}

/// Reads `uint32_t cols`.
fn cpp_field(text: &str) -> Option<(String, String)> {
    let (kind, name) = text.split_once(' ')?;
    let kind = match kind {
        "uint64_t" => "u64",
        "uint32_t" => "u32",
        "int32_t" => "i32",
        "float" => "f32",
        other => other,
    };
    Some((name.trim().into(), kind.into()))
}

/// Reads `pub cols: u32`.
fn rust_field(text: &str) -> Option<(String, String)> {
    let (name, kind) = text.strip_prefix("pub ")?.split_once(':')?;
    Some((name.trim().into(), kind.trim().into()))
}

#[test]
fn fields_are_the_same_on_both_sides() {
    let cpp = structs("include/params", "struct ", cpp_field);
    let rust = structs("src/params", "pub struct ", rust_field);
    assert!(cpp.len() > 5, "{:?}", cpp.keys());
    let differing: Vec<_> = cpp
        .iter()
        .filter(|(name, fields)| rust.get(*name) != Some(fields))
        .map(|(name, fields)| format!("{name}: {fields:?}, in Rust {:?}", rust.get(name)))
        .collect();
    assert_eq!(differing, [""; 0]);
}
