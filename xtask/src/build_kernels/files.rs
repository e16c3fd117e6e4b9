//! The files that a build leaves behind, in memory until all of it has succeeded.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Built, manifest};

const MANIFEST: &str = "manifest.json";
const IMAGES: &str = "src/images.rs";
/// Folders whose files all come from a build.
const FOLDERS: [&str; 2] = ["ptx", "cubin"];

/// What the build's files contain.
pub(super) struct Files {
    /// The manifest; an empty object before the first build.
    manifest: Value,
    /// Content by path relative to the folder of the kernels.
    files: BTreeMap<String, Vec<u8>>,
}

impl Files {
    /// What is in `folder`, the folder of the kernels.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in FOLDERS {
            for path in list(folder, name)? {
                files.insert(path.clone(), fs::read(folder.join(path))?);
            }
        }
        let manifest = match fs::read(folder.join(MANIFEST)) {
            Ok(text) => {
                serde_json::from_slice(&text).context("kernels/manifest.json is no JSON")?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Value::default(),
            Err(error) => return Err(error).context("cannot read kernels/manifest.json"),
        };
        Ok(Self { manifest, files })
    }

    /// The architectures to assemble for: those `asked` for; where there are none and `keep` is
    /// set, those of the last build.
    pub(super) fn cubins(&self, asked: &[String], keep: bool) -> Vec<String> {
        let built = self.manifest["cubins"].as_array().into_iter().flatten();
        let built = built.filter_map(|arch| arch.as_str().map(str::to_owned));
        if asked.is_empty() && keep { built.collect() } else { asked.to_vec() }
    }

    /// Replaces what belongs to the modules of `built`, and drops what belongs to no module of
    /// `folder`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn update(
        &mut self,
        folder: &Path,
        built: &[Built],
        cubins: &[String],
    ) -> Result<()> {
        let modules = super::source::names(folder)?;
        let is_built = |name: &str| built.iter().any(|built| built.module.name == name);
        self.files.retain(|path, _| {
            let file = path.rsplit('/').next().unwrap_or_default();
            let module = file.split('.').next().unwrap_or_default();
            modules.iter().any(|name| name == module) && !is_built(module)
        });
        for Built { module, images, cubins } in built {
            let name = &module.name;
            for image in images {
                let path = format!("ptx/{name}.{}.ptx", image.target.name());
                self.files.insert(path, image.ptx.clone().into_bytes());
            }
            for (arch, bytes) in cubins {
                self.files.insert(format!("cubin/{name}.{arch}.cubin"), bytes.clone());
            }
        }
        self.manifest = manifest::merge(&self.manifest, &modules, built, cubins);
        let text = manifest::text(&self.manifest)?;
        self.files.insert(MANIFEST.into(), text.into_bytes());
        self.files.insert(IMAGES.into(), manifest::images_rs(&self.manifest)?.into_bytes());
        Ok(())
    }

    /// Writes all files into `folder` and deletes those of earlier builds.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        for (path, content) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().context("a file lies in no folder")?)?;
            if fs::read(&path).ok().as_ref() != Some(content) {
                fs::write(&path, content).with_context(|| format!("cannot write {path:?}"))?;
            }
        }
        for path in self.stale(folder)? {
            fs::remove_file(folder.join(path))?;
        }
        println!("{} files are up to date in {}", self.files.len(), folder.display());
        Ok(())
    }

    /// Compares all files with those in `folder`.
    ///
    /// # Errors
    /// Names each file that differs, is missing, or comes from an earlier build.
    pub(super) fn compare(&self, folder: &Path) -> Result<()> {
        let differs = |(path, content): &(&String, &Vec<u8>)| {
            fs::read(folder.join(path)).ok().as_ref() != Some(*content)
        };
        let mut wrong: Vec<_> = self.files.iter().filter(differs).map(|(path, _)| path).collect();
        let stale = self.stale(folder)?;
        wrong.extend(&stale);
        ensure!(
            wrong.is_empty(),
            "kernels/ is not what its sources give: {wrong:?}; run `cargo xtask build-kernels`"
        );
        println!("{} files are as built", self.files.len());
        Ok(())
    }

    /// Files of earlier builds that this one would not write.
    fn stale(&self, folder: &Path) -> Result<Vec<String>> {
        let mut stale = Vec::new();
        for name in FOLDERS {
            let paths = list(folder, name)?.into_iter();
            stale.extend(paths.filter(|path| !self.files.contains_key(path)));
        }
        Ok(stale)
    }
}

/// The files in a folder, if there is one, as paths that start with its name.
fn list(folder: &Path, name: &str) -> Result<Vec<String>> {
    let path = folder.join(name);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| format!("cannot read {path:?}"))? {
        files.push(format!("{name}/{}", entry?.file_name().to_string_lossy()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
