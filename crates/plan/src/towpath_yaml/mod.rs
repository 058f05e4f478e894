//! `towpath.yaml`.

use towpath_core::project::ProjectFile;
use towpath_yaml::YamlError;

/// Reads the file.
pub fn read(file_name: &str, text: &str) -> Result<ProjectFile, YamlError> {
    let document = towpath_yaml::parse(file_name, text)?;
    let fields = document.field().fields()?;
    fields.finish()?;
    Ok(ProjectFile::default())
}
