//! Settings for the configuration of another repository, given on the command line or recorded in an
//! import: `--config`, `--remote`, `--remote-config`.

use std::path::Path;

use towpath_yaml::{Field, Value, YamlError};

use super::{Config, Setting, read_document, remote_section};
use crate::Error;

/// Options of a remote by name, `("timeout", "30")`, in the order in which they were given.
pub type RemoteOptions = Vec<(String, String)>;

/// What is laid over the configuration of another repository, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub config: Option<ConfigOverride>,
    /// The remote that is the default one there.
    pub remote: Option<String>,
    /// Of that remote, or else of the default one there.
    pub remote_options: RemoteOptions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOverride {
    /// A file of the configuration, as typed.
    File(String),
    /// `(section, key, value)`, for example `("remote \"store\"", "url", "/mnt/store")`.
    Settings(Vec<(String, String, String)>),
}

impl Overrides {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The keys `config` and `remote` of an import, as DVC records them (dvc, `repo/imp.py`): options
    /// of a named remote are settings.
    ///
    /// # Errors
    /// A file of settings leaves no place for the options of a named remote.
    pub fn recorded(&self) -> Result<Vec<(String, Value)>, Error> {
        let mut entries = Vec::new();
        let options = || self.remote_options.iter().map(|(key, value)| (key.clone(), Value::string(value))).collect();
        let named = self.remote.as_ref().filter(|_| !self.remote_options.is_empty());
        let config = match (&self.config, named) {
            (Some(ConfigOverride::File(_)), Some(name)) => {
                let problem = "--config and options of a named remote cannot be recorded together".to_owned();
                return Err(Error::RemoteConfig { name: name.clone(), problem });
            }
            (Some(ConfigOverride::File(file)), None) => Some(Value::string(file)),
            (None, None) => None,
            (settings, named) => {
                let mut all = Vec::new();
                if let Some(ConfigOverride::Settings(settings)) = settings {
                    all.extend_from_slice(settings);
                }
                if let Some(name) = named {
                    all.push(("core".to_owned(), "remote".to_owned(), name.clone()));
                    let of_remote =
                        |(key, value): &(String, String)| (remote_section(name), key.clone(), value.clone());
                    all.extend(self.remote_options.iter().map(of_remote));
                }
                Some(nested(&all))
            }
        };
        entries.extend(config.map(|config| ("config".to_owned(), config)));
        let remote = match (&self.remote, named) {
            (_, Some(_)) => None,
            (Some(name), None) => Some(Value::string(name)),
            (None, None) if self.remote_options.is_empty() => None,
            (None, None) => Some(Value::Map(options())),
        };
        entries.extend(remote.map(|remote| ("remote".to_owned(), remote)));
        Ok(entries)
    }

    /// Reads these keys of an import.
    pub fn of_import(config: Option<Field<'_>>, remote: Option<Field<'_>>) -> Result<Self, YamlError> {
        let config = match config {
            None => None,
            Some(settings) if settings.is_map() => Some(ConfigOverride::Settings(flat(settings)?)),
            Some(file) => Some(ConfigOverride::File(file.as_str()?.to_owned())),
        };
        let mut overrides = Self { config, ..Self::default() };
        match remote {
            None => {}
            Some(options) if options.is_map() => {
                overrides.remote_options = text_options(options)?;
            }
            Some(name) => overrides.remote = Some(name.as_str()?.to_owned()),
        }
        Ok(overrides)
    }
}

/// Options as a `.dvc` file records them: a mapping of texts, numbers and flags.
pub(crate) fn text_options(options: Field<'_>) -> Result<RemoteOptions, YamlError> {
    options.entries()?.into_iter().map(|(entry, value)| Ok((entry.key.clone(), text_of(value)?))).collect()
}

/// Settings as mappings: `{core: {remote: a}, remote: {a: {url: b}}}`.
fn nested(settings: &[(String, String, String)]) -> Value {
    let mut config = Vec::new();
    for (section, key, value) in settings {
        let section = super::dotted(section);
        let path: Vec<&str> = section.splitn(2, '.').chain([key.as_str()]).collect();
        insert(&mut config, &path, Value::string(value));
    }
    Value::Map(config)
}

fn insert(entries: &mut Vec<(String, Value)>, path: &[&str], value: Value) {
    let Some((key, below)) = path.split_first() else { return };
    let at = entries.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
        entries.push(((*key).to_owned(), Value::Map(Vec::new())));
        entries.len() - 1
    });
    match &mut entries[at].1 {
        place if below.is_empty() => *place = value,
        Value::Map(entries) => insert(entries, below, value),
        _ => {}
    }
}

/// The reverse of [`nested`].
fn flat(config: Field<'_>) -> Result<Vec<(String, String, String)>, YamlError> {
    let mut settings = Vec::new();
    for (section, entries) in config.entries()? {
        for (entry, value) in entries.entries()? {
            if !value.is_map() {
                settings.push((section.key.clone(), entry.key.clone(), text_of(value)?));
                continue;
            }
            let name = format!("{} \"{}\"", section.key, entry.key);
            for (option, value) in value.entries()? {
                settings.push((name.clone(), option.key.clone(), text_of(value)?));
            }
        }
    }
    Ok(settings)
}

fn text_of(value: Field<'_>) -> Result<String, YamlError> {
    Ok(match value.to_value() {
        Value::String(text) => text,
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(_) => value.as_f64()?.to_string(),
        _ => return Err(value.expected("a text, a number, true or false")),
    })
}

impl Config {
    /// This configuration under others' settings. Relative paths in a file are relative to its folder.
    ///
    /// # Errors
    /// What DVC refuses in a configuration; options without a remote that they could be of.
    pub fn overridden(mut self, overrides: &Overrides) -> Result<Self, Error> {
        match &overrides.config {
            None => {}
            Some(ConfigOverride::File(file)) => {
                let file = std::path::absolute(file).map_err(Error::io("find", file.as_ref()))?;
                let missing = || Error::io("read", &file)(std::io::ErrorKind::NotFound.into());
                let document = read_document(&file)?.ok_or_else(missing)?;
                self.merge(&file, &document);
            }
            Some(ConfigOverride::Settings(settings)) => {
                for (section, key, value) in settings {
                    self.set(section, key, value);
                }
            }
        }
        self.warnings = self.check()?;
        if let Some(name) = &overrides.remote {
            self.set("core", "remote", name);
        }
        if !overrides.remote_options.is_empty() {
            let name = self.default_remote().ok_or(Error::NoDefaultRemote)?;
            for (key, value) in &overrides.remote_options {
                self.set(&remote_section(&name), key, value);
            }
        }
        Ok(self)
    }

    /// Sets a key for this process only.
    fn set(&mut self, section: &str, key: &str, value: &str) {
        let file = Path::new("the command line");
        let at = self.sections.iter().position(|found| found.name == section).unwrap_or_else(|| {
            let section =
                super::Section { name: section.to_owned(), file: file.to_owned(), line: 0, settings: Vec::new() };
            self.sections.push(section);
            self.sections.len() - 1
        });
        let settings = &mut self.sections[at].settings;
        settings.retain(|(found, _)| found != key);
        let setting = Setting { value: value.to_owned(), is_list: false, file: file.to_owned(), line: 0 };
        settings.push((key.to_owned(), setting));
    }
}

#[cfg(test)]
mod tests {
    use towpath_yaml::{emit, parse};

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> RemoteOptions {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// What real `dvc` 3.67 recorded for `--remote`, `--remote-config` and both.
    #[test]
    fn they_are_recorded_as_dvc_records_them_and_read_back() {
        for (remote, given, recorded) in [
            (Some("store"), &[][..], "remote: store\n"),
            (None, &[("url", "/mnt/a"), ("jobs", "2")], "remote:\n  url: /mnt/a\n  jobs: '2'\n"),
            (
                Some("store"),
                &[("url", "/mnt/a")],
                "config:\n  core:\n    remote: store\n  remote:\n    store:\n      url: /mnt/a\n",
            ),
        ] {
            let overrides =
                Overrides { config: None, remote: remote.map(str::to_owned), remote_options: options(given) };
            let text = emit(&Value::Map(overrides.recorded().unwrap()));
            assert_eq!(text, recorded);
            let document = parse("x.dvc", &text).unwrap();
            let mut fields = document.field().fields().unwrap();
            let read = Overrides::of_import(fields.optional("config"), fields.optional("remote")).unwrap();
            assert_eq!(read.recorded().unwrap(), overrides.recorded().unwrap());
        }
    }

    #[test]
    fn a_configuration_is_read_through_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("extra");
        std::fs::write(&file, "['remote \"near\"']\n    url = store\n    jobs = 3\n").unwrap();
        let overrides = Overrides {
            config: Some(ConfigOverride::File(file.display().to_string())),
            remote: Some("near".to_owned()),
            remote_options: options(&[("jobs", "5")]),
        };
        let remote = Config::default().overridden(&overrides).unwrap().remote(None).unwrap();
        assert_eq!((remote.name.as_str(), remote.jobs), ("near", Some(5)));
        assert_eq!(remote.url, dir.path().join("store").display().to_string());
        let nowhere = Overrides { remote_options: options(&[("jobs", "5")]), ..Overrides::default() };
        assert!(matches!(Config::default().overridden(&nowhere), Err(Error::NoDefaultRemote)));
    }
}
