//! The files of one model by name, in a folder or in memory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tintype_ops::SharedBytes;

use crate::{EmbeddedFile, ModelError, mmap};

/// Where the files of a model lie.
pub(crate) enum Storage {
    Folder(PathBuf),
    Embedded(&'static [EmbeddedFile]),
}

impl Storage {
    /// The files of a folder, which must exist.
    pub(crate) fn folder(path: PathBuf) -> Result<Self, ModelError> {
        if path.is_dir() { Ok(Self::Folder(path)) } else { Err(ModelError::NoFolder { path }) }
    }

    /// How messages call the model.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Embedded(_) => "embedded".into(),
        }
    }

    /// How messages call one of its files.
    pub(crate) fn file_name(&self, name: &str) -> String {
        match self {
            Self::Folder(path) => path.join(name).display().to_string(),
            Self::Embedded(_) => format!("embedded {name}"),
        }
    }

    /// Reads a file; `None` where there is none of this name.
    pub(crate) fn read(&self, name: &str) -> Result<Option<SharedBytes>, ModelError> {
        self.with(name, |path| fs::read(path).map(SharedBytes::new))
    }

    /// Maps a file; `None` where there is none of this name.
    pub(crate) fn map(&self, name: &str) -> Result<Option<SharedBytes>, ModelError> {
        self.with(name, |path| mmap::map(&File::open(path)?))
    }

    /// Reads a file without which there is no model.
    pub(crate) fn require(
        &self,
        name: &str,
        hint: &'static str,
    ) -> Result<SharedBytes, ModelError> {
        self.read(name)?.ok_or_else(|| self.missing(name, hint))
    }

    /// The error for a file that is not there.
    pub(crate) fn missing(&self, name: &str, hint: &'static str) -> ModelError {
        ModelError::MissingFile { model: self.name(), file: name.into(), hint }
    }

    fn with(
        &self,
        name: &str,
        read: impl FnOnce(&Path) -> io::Result<SharedBytes>,
    ) -> Result<Option<SharedBytes>, ModelError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                let bytes = match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => read(&path),
                    // Opening a pipe would wait for a writer that may never come.
                    Ok(_) => Err(io::Error::other("it is not a regular file")),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => Err(error),
                };
                let file = || self.file_name(name);
                bytes.map(Some).map_err(|source| ModelError::Io { file: file(), source })
            }
            Self::Embedded(files) => {
                let found = files.iter().find(|(file, _)| *file == name);
                Ok(found.map(|&(_, bytes)| SharedBytes::new(bytes)))
            }
        }
    }
}
