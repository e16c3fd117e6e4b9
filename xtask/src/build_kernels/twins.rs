//! Parameter structs in C++ and their twins in Rust.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::entry_points::EntryPoint;

/// The text of every file that declares parameters.
pub(super) struct Twins {
    cpp: String,
    rust: String,
}

impl Twins {
    /// Reads the declarations in `folder`, the folder of the kernels.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let cpp = texts(&folder.join("include/params"))?;
        Ok(Self { cpp, rust: texts(&folder.join("src/params"))? })
    }

    /// What is wrong with the declarations of an entry point's parameter.
    pub(super) fn problem(&self, entry_point: &EntryPoint) -> Option<String> {
        let EntryPoint { name, params, params_bytes, .. } = entry_point;
        if !self.cpp.contains(&format!("struct {params} {{")) {
            return Some(format!("{name} takes {params}, which no include/params/*.cuh declares"));
        }
        let size = format!("static_assert(sizeof({params}) == {params_bytes},");
        if !self.cpp.contains(&size) {
            return Some(format!("beside {params} stands no `{size} \"twin of ...\");`"));
        }
        if !self.rust.contains(&format!("pub struct {params} {{")) {
            return Some(format!("{name} takes {params}, which has no twin in src/params/*.rs"));
        }
        None
    }
}

fn texts(folder: &Path) -> Result<String> {
    let mut texts = String::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        texts.push_str(&fs::read_to_string(entry?.path())?);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::super::entry_points::Resources;
    use super::*;

    const CPP: &str = "struct AddParams {\n};\nstatic_assert(sizeof(AddParams) == 40, \"twin\");";
    const RUST: &str = "pub struct AddParams {}";

    fn problem(cpp: &str, rust: &str) -> Option<String> {
        let (name, params) = ("add".to_owned(), "AddParams".to_owned());
        let resources = Resources::default();
        let entry_point = EntryPoint { name, params, params_bytes: 40, resources };
        Twins { cpp: cpp.into(), rust: rust.into() }.problem(&entry_point)
    }

    #[test]
    fn a_struct_with_its_twin_passes() {
        assert_eq!(problem(CPP, RUST), None);
    }

    #[test]
    fn each_missing_part_is_named() {
        let other_size = CPP.replace("40", "48");
        for (cpp, rust, needle) in [
            ("", RUST, "no include/params/*.cuh"),
            (&other_size, RUST, "static_assert(sizeof(AddParams) == 40,"),
            (CPP, "", "no twin"),
        ] {
            let found = problem(cpp, rust).unwrap_or_default();
            assert!(found.contains(needle), "{found}");
        }
    }
}
