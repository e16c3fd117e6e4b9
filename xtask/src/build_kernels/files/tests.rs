//! A build into a folder of its own, with a compiler that is played by the test.

use std::env;
use std::path::PathBuf;
use std::process;

use super::super::entry_points::{EntryPoint, Resources};
use super::super::source::{self, Module};
use super::super::{Image, Target};
use super::*;

/// A folder with sources `add.cu` and `mul.cu`, deleted at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = env::temp_dir().join(format!("tintype-xtask-{test}-{}", process::id()));
        fs::create_dir_all(folder.join("src")).unwrap();
        for source in ["add.cu", "mul.cu"] {
            fs::write(folder.join(source), "").unwrap();
        }
        Self(folder)
    }

    /// Builds `only`, or all; each image is its name and `suffix`.
    fn build(&self, only: &[String], suffix: &str, cubins: &[String]) -> Files {
        let mut files = Files::read(&self.0).unwrap();
        let modules = source::modules(&self.0, only).unwrap();
        let built: Vec<_> =
            modules.into_iter().map(|module| compiled(module, suffix, cubins)).collect();
        files.update(&self.0, &built, cubins).unwrap();
        files
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn compiled(module: Module, suffix: &str, cubins: &[String]) -> Built {
    let name = module.name.clone();
    let images = Target::ALL.map(|target| Image {
        target,
        ptx: format!("{name}{suffix}"),
        entry_points: vec![EntryPoint {
            name: format!("{name}_f32"),
            params: "Params".into(),
            params_bytes: 8,
            resources: Resources::default(),
        }],
    });
    let cubins = cubins.iter().map(|arch| (arch.clone(), vec![1])).collect();
    Built { module, images: images.into(), cubins }
}

#[test]
fn a_build_is_as_it_was_until_a_source_or_an_output_changes() {
    let folder = Folder::new("compare");
    folder.build(&[], "", &[]).write(&folder.0).unwrap();
    assert_eq!(folder.text("ptx/add.sm_90a.ptx"), "add");
    folder.build(&[], "", &[]).compare(&folder.0).unwrap();

    let message = folder.build(&[], "2", &[]).compare(&folder.0).unwrap_err().to_string();
    assert!(message.contains("ptx/add.sm_80.ptx"), "{message}");
    assert!(message.contains("manifest.json"), "{message}");

    fs::write(folder.0.join("add.cu"), "changed").unwrap();
    let message = folder.build(&[], "", &[]).compare(&folder.0).unwrap_err().to_string();
    assert!(message.contains("[\"manifest.json\"]"), "{message}");
}

#[test]
fn one_module_is_built_and_the_others_stay() {
    let folder = Folder::new("only");
    folder.build(&[], "", &[]).write(&folder.0).unwrap();
    folder.build(&["mul".into()], "2", &[]).write(&folder.0).unwrap();
    assert_eq!(folder.text("ptx/add.sm_80.ptx"), "add");
    assert_eq!(folder.text("ptx/mul.sm_80.ptx"), "mul2");
    assert!(folder.text("src/images.rs").contains("add_f32(Params)"));
}

#[test]
fn what_belongs_to_no_source_is_deleted() {
    let folder = Folder::new("stale");
    folder.build(&[], "", &["sm_90a".into()]).write(&folder.0).unwrap();
    assert!(folder.0.join("cubin/add.sm_90a.cubin").is_file());
    fs::remove_file(folder.0.join("add.cu")).unwrap();
    let files = folder.build(&[], "", &[]);
    let message = files.compare(&folder.0).unwrap_err().to_string();
    assert!(message.contains("ptx/add.sm_80.ptx"), "{message}");
    files.write(&folder.0).unwrap();
    assert!(!folder.0.join("ptx/add.sm_80.ptx").exists());
    assert!(!folder.0.join("cubin/mul.sm_90a.cubin").exists());
    assert!(!folder.text("src/images.rs").contains("add"));
}

#[test]
fn machine_code_stands_with_the_ptx_that_it_comes_from() {
    let folder = Folder::new("cubin");
    let cubins = ["sm_89".to_owned(), "sm_90a".to_owned()];
    folder.build(&[], "", &cubins).write(&folder.0).unwrap();
    let images = folder.text("src/images.rs");
    let (sm_80, sm_90a) = images.split_once("SM_90A").unwrap();
    assert!(sm_80.contains("add [\"sm_89\"] {"), "{images}");
    assert!(sm_90a.contains("add [\"sm_90a\"] {"), "{images}");
    let files = Files::read(&folder.0).unwrap();
    assert_eq!(files.cubins(&[], true), cubins);
    assert_eq!(files.cubins(&[], false), [""; 0]);
    assert_eq!(files.cubins(&["sm_80".into()], true), ["sm_80"]);
}
