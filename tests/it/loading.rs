//! Opening and loading model folders: whole, incomplete, contradictory and corrupt.

mod contradictions;
mod corruption;
mod folder;
mod knobs;
mod missing;
mod spellings;

use tintype_cpu::CpuStream;
use tintype_model::{ModelFiles, ModelSource};

use crate::model::Driver;
use folder::Folder;

/// The message with which a folder is refused, the folder's own path left out.
fn refusal(folder: &Folder) -> String {
    let source = ModelSource::Folder(folder.path().into());
    let error = match ModelFiles::open(source).and_then(|files| Driver::<CpuStream>::load(&files)) {
        Ok(_) => return "loaded".into(),
        Err(error) => error.to_string(),
    };
    error
        .replace(&format!("{}/", folder.path().display()), "")
        .replace(&folder.path().display().to_string(), "FOLDER")
}
