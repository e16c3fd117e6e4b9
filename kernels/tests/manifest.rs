//! What was built is what the sources say: without a compiler, by the hashes in the manifest.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use tintype_kernels::{Image, images};

const REBUILD: &str = "run `cargo xtask build-kernels`";

fn read(path: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read(&file).unwrap_or_else(|error| panic!("kernels/{path}: {error}; {REBUILD}"))
}

fn sha256(bytes: &[u8]) -> String {
    hmac_sha256::Hash::hash(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn modules() -> Map<String, Value> {
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    object(&manifest["modules"]).clone()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object; {REBUILD}"))
}

/// Every image with its part of the manifest.
fn for_each_image(mut visit: impl FnMut(&Image, &Value)) {
    let modules = modules();
    for set in [(8, 0), (9, 0)] {
        let images = images(set).unwrap();
        let names: Vec<_> = images.iter().map(|image| image.name).collect();
        assert_eq!(names, modules.keys().collect::<Vec<_>>(), "{REBUILD}");
        images.iter().for_each(|image| visit(image, &modules[image.name]["images"][image.target]));
    }
}

#[test]
fn every_source_is_the_one_that_was_compiled() {
    for (name, module) in modules() {
        for (path, hash) in object(&module["sources"]) {
            let found = sha256(&read(path));
            assert_eq!(found.as_str(), hash, "{name}: kernels/{path} has changed; {REBUILD}");
        }
    }
}

#[test]
fn every_source_was_compiled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = files.filter_map(|name| Some(name.to_str()?.strip_suffix(".cu")?.to_owned()));
    let compiled: BTreeSet<_> = modules().keys().cloned().collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), compiled, "{REBUILD}");
}

#[test]
fn every_output_is_the_one_that_was_written() {
    for_each_image(|image, entry| {
        let found = sha256(image.ptx.as_bytes());
        assert_eq!(found, entry["sha256"], "{} for {}; {REBUILD}", image.name, image.target);
    });
    for (name, module) in modules() {
        for (arch, hash) in object(&module["cubins"]) {
            let found = sha256(&read(&format!("cubin/{name}.{arch}.cubin")));
            assert_eq!(found.as_str(), hash, "{name} for {arch}; {REBUILD}");
        }
    }
}

#[test]
fn the_oldest_driver_that_we_support_takes_the_ptx() {
    for_each_image(|image, _| {
        let directive = |name: &str| {
            let mut lines = image.ptx.lines();
            lines.find_map(|line| line.strip_prefix(name)).map(str::trim)
        };
        let version = directive(".version ").and_then(|version| version.split_once('.')).unwrap();
        let version: (u32, u32) = (version.0.parse().unwrap(), version.1.parse().unwrap());
        assert!(version <= (9, 0), "{}: PTX ISA {version:?}, at most 9.0", image.name);
        assert_eq!(directive(".target "), Some(image.target), "{}", image.name);
    });
}

#[test]
fn parameters_in_rust_have_the_size_of_those_in_the_ptx() {
    let mut num_entry_points = 0;
    for_each_image(|image, entry| {
        let entries = object(&entry["entry_points"]);
        let names: Vec<_> = image.entry_points.iter().map(|entry| entry.name).collect();
        assert_eq!(names, entries.keys().collect::<Vec<_>>(), "{}; {REBUILD}", image.name);
        for entry_point in image.entry_points {
            let entry = &entries[entry_point.name];
            assert_eq!(entry_point.params_bytes, entry["params_bytes"], "{entry_point:?}");
            assert_eq!(entry_point.params, entry["params"], "{entry_point:?}");
            let param = format!("{}_param_0[{}]", entry_point.name, entry_point.params_bytes);
            assert!(image.ptx.contains(&param), "{}: no {param}", image.name);
            num_entry_points += 1;
        }
    });
    assert!(num_entry_points > 0);
}

#[test]
fn no_kernel_spills() {
    for_each_image(|_, entry| {
        for (name, entry) in object(&entry["entry_points"]) {
            assert_eq!(entry["spill_bytes"], 0, "{name}");
        }
    });
}

#[test]
fn entry_points_of_a_target_have_names_of_their_own() {
    for set in [(8, 0), (9, 0)] {
        let entries = images(set).unwrap().iter().flat_map(|image| image.entry_points);
        let mut names = BTreeSet::new();
        for entry in entries {
            assert!(names.insert(entry.name), "two kernels are called {}", entry.name);
        }
    }
}
