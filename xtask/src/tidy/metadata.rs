//! The packages of the workspace, as `cargo metadata` describes them.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::workspace::{Dependency, Package, relative};

/// Asks cargo for the packages of the workspace in `root`.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
    let output = cargo.arg(root.join("Cargo.toml")).output().context("cannot start cargo")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("cargo cannot describe the workspace in {}: {reason}", root.display());
    }
    parse(root, &String::from_utf8(output.stdout)?)?
        .into_iter()
        .map(|package| with_lints(root, package))
        .collect()
}

/// Cargo does not report lint tables; the manifest shows them.
fn with_lints(root: &Path, package: Package) -> Result<Package> {
    let path = root.join(&package.folder).join("Cargo.toml");
    let manifest = fs::read_to_string(&path);
    let manifest = manifest.with_context(|| format!("cannot read {}", path.display()))?;
    let has_lints = manifest.lines().any(|line| line.starts_with("[lints"));
    Ok(Package { has_lints, ..package })
}

/// Reads the JSON that `cargo metadata` prints.
fn parse(root: &Path, json: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(json).context("cargo metadata printed no JSON")?;
    list(&metadata, "packages")?.iter().map(|value| package(root, value)).collect()
}

fn package(root: &Path, value: &Value) -> Result<Package> {
    let manifest = Path::new(text(value, "manifest_path")?);
    let folder = manifest.parent().context("a manifest lies in no folder")?;
    let targets = list(value, "targets")?.iter();
    let features = value["features"].as_object().context("a package has no list of features")?;
    Ok(Package {
        name: text(value, "name")?.into(),
        folder: relative(root, folder),
        dependencies: list(value, "dependencies")?.iter().map(dependency).collect::<Result<_>>()?,
        roots: targets
            .map(|target| Ok(relative(root, Path::new(text(target, "src_path")?))))
            .collect::<Result<_>>()?,
        features: features.keys().cloned().collect(),
        has_lints: false,
    })
}

fn dependency(value: &Value) -> Result<Dependency> {
    Ok(Dependency {
        name: text(value, "name")?.into(),
        ours: value["path"].is_string(),
        dev: value["kind"] == "dev",
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no text at {key:?}"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata has no list at {key:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"packages": [{
        "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "features": {"fast": []},
        "targets": [{"src_path": "/w/crates/a/src/lib.rs"}],
        "dependencies": [
            {"name": "half", "kind": null},
            {"name": "b", "kind": "dev", "path": "/w/crates/b"}
        ]
    }]}"#;

    #[test]
    fn a_package_is_read_with_its_edges() {
        let packages = parse(Path::new("/w"), JSON).unwrap();
        let [package] = packages.as_slice() else { panic!("one package, got {packages:?}") };
        assert_eq!((package.name.as_str(), package.folder.as_str()), ("a", "crates/a"));
        assert_eq!(package.roots, ["crates/a/src/lib.rs"]);
        assert_eq!(package.features, ["fast"]);
        let edges = package.dependencies.iter().map(|d| (d.name.as_str(), d.ours, d.dev));
        assert_eq!(edges.collect::<Vec<_>>(), [("half", false, false), ("b", true, true)]);
    }

    #[test]
    fn json_of_another_form_is_an_error() {
        for (json, needle) in
            [("", "no JSON"), ("{}", "packages"), (r#"{"packages":[{}]}"#, "manif")]
        {
            let message = parse(Path::new("/w"), json).unwrap_err().to_string();
            assert!(message.contains(needle), "{json}: {message}");
        }
    }
}
