//! What `towpath new` writes: a whole example, kept in the program.

use std::fs;
use std::path::Path;

use towpath_yaml::{Step, Value, edit};

use crate::error::Error;

/// An example to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Template {
    /// Handwritten digits: weekly batches of images, a classifier, two environments
    #[default]
    Digits,
}

/// Path and text of each file.
type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($folder:literal: $($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../template/", $folder, "/", $path)))),+]
    };
}

const DIGITS: Files = files!("digits":
    ".gitignore",
    "README.md",
    "checks/images.yaml",
    "dvc.yaml",
    "evaluate.py",
    "evaluation.py",
    "images.py",
    "make_data.py",
    "params.yaml",
    "prepare.py",
    "requirements.txt",
    "towpath.yaml",
    "train.py",
);

impl Template {
    fn files(self) -> Files {
        match self {
            Self::Digits => DIGITS,
        }
    }

    /// The script that makes the data.
    pub fn data_script(self) -> &'static str {
        match self {
            Self::Digits => "make_data.py",
        }
    }

    /// What is tracked as data.
    pub fn data(self) -> &'static [&'static str] {
        match self {
            Self::Digits => &["data/images", "data/evaluation.csv"],
        }
    }

    /// Writes the files; the model is called `name`.
    pub fn write(self, dir: &Path, name: &str) -> Result<(), Error> {
        for (path, text) in self.files() {
            let to = dir.join(path);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            }
            let text = match *path {
                "towpath.yaml" => {
                    edit::set(path, text, &[Step::Key("model"), Step::Key("name")], &Value::string(name))?
                }
                "README.md" => text.replacen("# digits\n", &format!("# {name}\n"), 1),
                _ => (*text).to_owned(),
            };
            fs::write(&to, text).map_err(Error::io("write", &to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_template_is_forgotten() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("template/digits");
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        assert_eq!(found, Template::Digits.files().iter().map(|(path, _)| *path).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_written_is_valid_and_has_the_name_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        Template::Digits.write(dir.path(), "numerals").unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        let project = towpath_plan::towpath_yaml::read("towpath.yaml", &read("towpath.yaml")).unwrap();
        assert_eq!(project.model.unwrap().name, "numerals");
        assert_eq!(project.environments.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["staging", "production"]);
        use towpath_plan::frontend::dvc_yaml::Sources;
        let pipeline = towpath_plan::frontend::dvc_yaml::read("dvc.yaml", &read("dvc.yaml"), &Sources::none()).unwrap();
        let order = towpath_plan::graph::Graph::of(&pipeline).unwrap();
        assert_eq!(order.order(), ["prepare", "evaluation", "train", "evaluate"]);
        towpath_checks::Suite::read("checks/images.yaml", &read("checks/images.yaml")).unwrap();
        assert!(read("README.md").starts_with("# numerals\n"));
    }
}
