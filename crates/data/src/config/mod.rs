//! `.dvc/config` and the levels around it.
//!
//! Every key is one of DVC 3.67 and holds what DVC accepts ([`schema`]); others are refused, except in
//! `[feature]`, where they are dropped with a warning. Written: one key at a time, all other lines of
//! the file, comments too, stay as they are (DVC drops comments).

mod edit;
mod ini;
mod overrides;
mod places;
mod remote;
mod schema;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::links::LinkType;
use crate::{Error, files};

pub use edit::Edit;
pub(crate) use overrides::text_options;
pub use overrides::{ConfigOverride, Overrides, RemoteOptions};
pub use places::{Level, Places};
pub use remote::{RemoteConfig, RemoteKind, SslVerify};

use ini::{Document, Value};

/// More requests at a time than this are no use to anybody.
const MOST_JOBS: usize = 256;

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    /// Paths are absolute; a list has commas between.
    value: String,
    is_list: bool,
    file: PathBuf,
    line: usize,
}

impl Setting {
    fn wrong(&self, problem: String) -> Error {
        Error::Config { path: self.file.clone(), line: self.line, problem }
    }
}

#[derive(Clone, Debug)]
struct Section {
    /// `core`, `remote "name"`.
    name: String,
    file: PathBuf,
    line: usize,
    settings: Vec<(String, Setting)>,
}

/// Levels of one repository, merged, in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Config {
    sections: Vec<Section>,
    warnings: Vec<String>,
}

impl Config {
    /// Reads all levels of the repository whose `.dvc` folder this is, and checks them.
    pub fn read(dvc_dir: &Path) -> Result<Self, Error> {
        Self::read_from(&Places::of(Some(dvc_dir)))
    }

    /// As [`read`](Self::read), from given files.
    pub fn read_from(places: &Places) -> Result<Self, Error> {
        let mut config = Self::of_levels(places, &Level::ALL)?;
        config.warnings = config.check()?;
        Ok(config)
    }

    /// Some levels, merged and not checked.
    pub fn of_levels(places: &Places, levels: &[Level]) -> Result<Self, Error> {
        let mut config = Self::default();
        for file in levels.iter().filter_map(|level| places.file(*level)) {
            if let Some(document) = read_document(file)? {
                config.merge(file, &document);
            }
        }
        Ok(config)
    }

    fn merge(&mut self, file: &Path, document: &Document) {
        for (name, line) in document.sections() {
            if !self.has_section(name) {
                let section = Section { name: name.to_owned(), file: file.to_owned(), line, settings: Vec::new() };
                self.sections.push(section);
            }
        }
        for entry in document.entries() {
            let Some(section) = self.sections.iter_mut().find(|section| section.name == entry.section) else {
                continue;
            };
            let mut value = entry.value.joined();
            if schema::is_path(entry.section, entry.key) {
                value = places::resolve(file, &value);
            }
            let is_list = matches!(entry.value, Value::List(_));
            let setting = Setting { value, is_list, file: file.to_owned(), line: entry.line };
            match section.settings.iter_mut().find(|(key, _)| key == entry.key) {
                Some((_, old)) => *old = setting,
                None => section.settings.push((entry.key.to_owned(), setting)),
            }
        }
    }

    /// Refuses what DVC refuses. Returns what it warns of.
    fn check(&self) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        for section in &self.sections {
            let wrong = |problem: String| Error::Config { path: section.file.clone(), line: section.line, problem };
            let mut scheme = String::new();
            if let Some(name) = remote_name(&section.name) {
                let url = self.setting(&section.name, "url");
                let no_url = || Error::RemoteConfig { name: name.to_owned(), problem: "it has no url".into() };
                let url = url.ok_or_else(no_url)?;
                scheme = schema::scheme(&url.value);
                if scheme == "remote" {
                    // Any option may be the other remote's; `remote` checks them when the other is known.
                    continue;
                }
                if RemoteKind::of_scheme(&scheme).is_none() {
                    return Err(url.wrong(format!("there are no remotes with {scheme}://")));
                }
            }
            let Some(keys) = schema::keys_of(&section.name, &scheme) else {
                return Err(wrong(format!("DVC knows no section '{}'", section.name)));
            };
            for (key, setting) in &section.settings {
                match keys.concat().iter().find(|(known, _)| known == key) {
                    Some((_, kind)) => schema::check(*kind, &setting.value, setting.is_list)
                        .map_err(|problem| setting.wrong(format!("{}.{key} {problem}", dotted(&section.name))))?,
                    None if section.name == "feature" => {
                        warnings.push(format!("'feature.{key}' config option is unsupported"));
                    }
                    None => return Err(setting.wrong(unknown_key(&section.name, key, &keys))),
                }
            }
        }
        if let (Some(_), Some(other)) = (self.setting("hydra", "config_dir"), self.setting("hydra", "config_module")) {
            return Err(other.wrong("hydra has either config_dir or config_module".into()));
        }
        Ok(warnings)
    }

    /// What DVC would warn of: options that it does not know and does not mind.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All settings as `("remote.name.url", value)`, in the order that DVC lists them: remotes,
    /// machines and databases before the rest.
    pub fn entries(&self) -> Vec<(String, &str)> {
        let kinds = ["remote \"", "machine \"", "db \""];
        let rank =
            |section: &&Section| kinds.iter().position(|kind| section.name.starts_with(kind)).unwrap_or(kinds.len());
        let mut sections: Vec<&Section> = self.sections.iter().collect();
        sections.sort_by_key(rank);
        let mut entries = Vec::new();
        for section in sections {
            let prefix = dotted(&section.name);
            entries.extend(section.settings.iter().map(|(key, setting)| (format!("{prefix}.{key}"), &*setting.value)));
        }
        entries
    }

    /// The value of a key, for example `("core", "remote")`. Paths are absolute.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.setting(section, key).map(|setting| setting.value.as_str())
    }

    /// A setting that is true or false; `None` when it is not set.
    pub fn flag(&self, section: &str, key: &str) -> Option<bool> {
        self.get(section, key).map(|value| value.eq_ignore_ascii_case("true"))
    }

    pub fn has_section(&self, name: &str) -> bool {
        self.section(name).is_some()
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    fn setting(&self, section: &str, key: &str) -> Option<&Setting> {
        self.section(section)?.settings.iter().find(|(name, _)| name == key).map(|(_, setting)| setting)
    }

    /// In the order of the files.
    pub fn remote_names(&self) -> Vec<String> {
        self.sections.iter().filter_map(|section| remote_name(&section.name).map(str::to_owned)).collect()
    }

    /// `core.remote`, in lower case as all names of remotes.
    pub fn default_remote(&self) -> Option<String> {
        self.get("core", "remote").map(str::to_lowercase)
    }

    /// The remote of that name, or the default one. One with `remote://other/sub/path` has the options
    /// of that other one, except for its own.
    pub fn remote(&self, name: Option<&str>) -> Result<RemoteConfig, Error> {
        let name = name.map(str::to_lowercase).or_else(|| self.default_remote()).ok_or(Error::NoDefaultRemote)?;
        let bad = |problem: String| Error::RemoteConfig { name: name.clone(), problem };
        let mut options: BTreeMap<String, Setting> = BTreeMap::new();
        let mut below = String::new();
        let mut seen = Vec::new();
        let mut next = name.clone();
        let url = loop {
            let Some(section) = self.section(&remote_section(&next)) else {
                return Err(Error::UnknownRemote { name: next, known_names: self.remote_names() });
            };
            for (key, setting) in section.settings.iter().filter(|(key, _)| key != "url") {
                options.entry(key.clone()).or_insert_with(|| setting.clone());
            }
            let url = self.get(&section.name, "url").ok_or_else(|| bad("it has no url".into()))?;
            let Some(other) = url.strip_prefix("remote://") else {
                break format!("{}{below}", url.trim_end_matches('/'));
            };
            let (other, path) = other.split_once('/').unwrap_or((other, ""));
            below = format!("/{}{below}", path.trim_matches('/'));
            seen.push(next);
            next = other.to_lowercase();
            if seen.contains(&next) {
                return Err(bad(format!("its url {url} leads back to itself")));
            }
        };
        let scheme = schema::scheme(&url);
        let (Some(kind), Some(keys)) =
            (RemoteKind::of_scheme(&scheme), schema::keys_of(&remote_section(&name), &scheme))
        else {
            return Err(bad(format!("there are no remotes with {scheme}://")));
        };
        for (key, setting) in &options {
            let Some((_, kind)) = keys.concat().into_iter().find(|(known, _)| known == key) else {
                return Err(bad(unknown_key(&remote_section(&name), key, &keys)));
            };
            schema::check(kind, &setting.value, setting.is_list).map_err(|problem| bad(format!("{key} {problem}")))?;
        }
        let jobs = options.get("jobs").and_then(|setting| setting.value.trim().parse::<usize>().ok());
        let url = if kind == RemoteKind::Local { url.strip_prefix("file://").unwrap_or(&url).to_owned() } else { url };
        let options = options.into_iter().map(|(key, setting)| (key, setting.value)).collect();
        Ok(RemoteConfig { name: name.clone(), kind, url, jobs: jobs.map(|jobs| jobs.min(MOST_JOBS)), options })
    }

    /// See [`crate::Repository::with_remote_password`].
    pub(crate) fn set_remote_password(&mut self, name: &str, user: &str, password: &str) {
        let section = remote_section(name);
        let Some(section) = self.sections.iter_mut().find(|found| found.name == section) else { return };
        if section.settings.iter().any(|(key, _)| key == "auth") {
            return;
        }
        for (key, value) in [("auth", "basic"), ("user", user), ("password", password)] {
            section.settings.retain(|(found, _)| found != key);
            let setting = Setting { value: value.to_owned(), is_list: false, file: PathBuf::new(), line: 0 };
            section.settings.push((key.to_owned(), setting));
        }
    }

    /// `cache.dir`, absolute.
    pub fn cache_dir(&self, dvc_dir: &Path) -> PathBuf {
        self.get("cache", "dir").map_or_else(|| dvc_dir.join("cache"), PathBuf::from)
    }

    /// `cache.type`, in the order to try.
    pub fn cache_types(&self) -> Result<Vec<LinkType>, Error> {
        let Some(setting) = self.setting("cache", "type") else { return Ok(LinkType::DEFAULT.to_vec()) };
        let parse = |word: &str| {
            LinkType::parse(word.trim()).ok_or_else(|| {
                setting
                    .wrong(format!("cache.type must list reflink, hardlink, symlink or copy, found '{}'", word.trim()))
            })
        };
        setting.value.split(',').map(parse).collect()
    }

    /// Adds a remote to a level's file, or changes its url, which is written as it is.
    pub fn write_remote(dvc_dir: &Path, level: Level, name: &str, url: &str, default: bool) -> Result<(), Error> {
        let mut edit = Edit::open(&Places::of(Some(dvc_dir)), level)?;
        if default {
            edit.set("core", "remote", name)?;
        }
        edit.set(&remote_section(name), "url", url)?;
        edit.save().map(drop)
    }

    /// Sets one key in a level's file, to exactly what is to stand there.
    pub fn write(dvc_dir: &Path, level: Level, section: &str, key: &str, value: &str) -> Result<(), Error> {
        let mut edit = Edit::open(&Places::of(Some(dvc_dir)), level)?;
        edit.set(section, key, value)?;
        edit.save().map(drop)
    }
}

fn read_document(file: &Path) -> Result<Option<Document>, Error> {
    let Some(text) = files::read_text(file)? else { return Ok(None) };
    let document = Document::parse(&text);
    document.map(Some).map_err(|wrong| Error::Config {
        path: file.to_owned(),
        line: wrong.line,
        problem: wrong.problem,
    })
}

/// The section of a remote: `remote "name"`.
pub fn remote_section(name: &str) -> String {
    format!("remote \"{}\"", name.to_lowercase())
}

fn remote_name(section: &str) -> Option<&str> {
    section.strip_prefix("remote \"")?.strip_suffix('"')
}

/// A section as the command line writes it: `remote.name` for `remote "name"`.
fn dotted(section: &str) -> String {
    section.replacen(" \"", ".", 1).trim_end_matches('"').to_owned()
}

fn unknown_key(section: &str, key: &str, keys: &[&'static [(&'static str, schema::Kind)]; 2]) -> String {
    let close = keys.concat().into_iter().map(|(known, _)| known).find(|known| is_close(known, key));
    let hint = close.map(|known| format!("; did you mean '{known}'?")).unwrap_or_default();
    format!("{} has no option '{key}'{hint}", dotted(section))
}

/// True when one is the other but for a letter more, less or another, or for `_`.
fn is_close(a: &str, b: &str) -> bool {
    let (a, b) = (a.replace('_', ""), b.replace(['_', '-'], ""));
    let same_start = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let same_end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
    same_start + same_end + 1 >= a.len().max(b.len()) && a.len().abs_diff(b.len()) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unchecked(text: &str) -> Result<Config, Error> {
        let file = Path::new("/repo/.dvc/config");
        let document = Document::parse(text).map_err(|wrong| Error::Config {
            path: file.to_owned(),
            line: wrong.line,
            problem: wrong.problem,
        })?;
        let mut config = Config::default();
        config.merge(file, &document);
        Ok(config)
    }

    fn config(text: &str) -> Result<Config, Error> {
        let mut config = unchecked(text)?;
        config.warnings = config.check()?;
        Ok(config)
    }

    #[test]
    fn what_dvc_writes_is_read() {
        let text = "[core]\n    remote = o\n[cache]\n    type = \"reflink,copy\"\n['remote \"o\"']\n    url = 'http://x/\"a,b#'  # comment\n    jobs = 4\n['remote \"loc\"']\n    url = ../../store\n";
        let config = config(text).unwrap();
        let default = config.remote(None).unwrap();
        assert_eq!((default.url.as_str(), default.jobs, default.kind), ("http://x/\"a,b#", Some(4), RemoteKind::Http));
        let folder = config.remote(Some("LOC")).unwrap();
        assert_eq!((folder.url.as_str(), folder.kind), ("/store", RemoteKind::Local));
        assert_eq!(config.remote_names(), ["o", "loc"]);
        assert_eq!(config.cache_types().unwrap(), [LinkType::Reflink, LinkType::Copy]);
        assert_eq!(config.cache_dir(Path::new("/repo/.dvc")), Path::new("/repo/.dvc/cache"));
        let listed: Vec<String> = config.entries().into_iter().map(|(name, _)| name).collect();
        assert_eq!(listed, ["remote.o.url", "remote.o.jobs", "remote.loc.url", "core.remote", "cache.type"]);
    }

    #[test]
    fn options_of_a_remote_have_types() {
        let text = "['remote \"s\"']\nurl = s3://bucket/a/\nuse_ssl = False\ncredentialpath = ../keys\nread_timeout = 7\nssl_verify = ca.pem\nversion_aware = true\n";
        let remote = config(text).unwrap().remote(Some("s")).unwrap();
        assert_eq!((remote.kind, remote.url.as_str()), (RemoteKind::S3, "s3://bucket/a"));
        assert_eq!(remote.flag("use_ssl"), Some(false));
        assert_eq!(remote.path("credentialpath"), Some(PathBuf::from("/repo/keys")));
        assert_eq!(remote.seconds("read_timeout"), Some(std::time::Duration::from_secs(7)));
        assert_eq!(remote.ssl_verify(), SslVerify::Against(PathBuf::from("ca.pem")));
        assert!(remote.is_version_aware() && !remote.is_worktree());
        let error = remote.required("profile", "its sign-in").unwrap_err();
        assert_eq!(error.to_string(), "remote 's': its sign-in needs 'profile'");
    }

    #[test]
    fn a_remote_within_another_has_its_options() {
        let text = "['remote \"host\"']\nurl = ssh://h/data\nuser = root\nport = 22\n['remote \"pictures\"']\nurl = remote://Host/tmp/pictures\nport = 2222\n";
        let remote = config(text).unwrap().remote(Some("pictures")).unwrap();
        assert_eq!((remote.url.as_str(), remote.kind), ("ssh://h/data/tmp/pictures", RemoteKind::Ssh));
        assert_eq!((remote.text("user"), remote.integer("port")), (Some("root"), Some(2222)));
        let circle = "['remote \"a\"']\nurl = remote://b/x\n['remote \"b\"']\nurl = remote://a/y\n";
        assert!(config(circle).unwrap().remote(Some("a")).unwrap_err().to_string().contains("leads back"));
        let wrong = format!("{text}profile = x\n");
        let error = config(&wrong).unwrap().remote(Some("pictures")).unwrap_err();
        assert_eq!(error.to_string(), "remote 'pictures': remote.pictures has no option 'profile'");
    }

    #[test]
    fn errors_name_file_line_and_what_would_be_right() {
        for (text, expected) in [
            ("[core\n", "/repo/.dvc/config, line 1: a section ends with ']', found '[core'"),
            (
                "[core]\nremotes = x\n",
                "/repo/.dvc/config, line 2: core has no option 'remotes'; did you mean 'remote'?",
            ),
            ("\n[cores]\n", "/repo/.dvc/config, line 2: DVC knows no section 'cores'"),
            (
                "[core]\nautostage = yes\n",
                "/repo/.dvc/config, line 2: core.autostage must be true or false, found 'yes'",
            ),
            ("['remote \"s\"']\nurl = ftp://x\n", "/repo/.dvc/config, line 2: there are no remotes with ftp://"),
            ("['remote \"s\"']\njobs = 1\n", "remote 's': it has no url"),
            ("['remote \"s\"']\nurl = a\nregion = x\n", "/repo/.dvc/config, line 3: remote.s has no option 'region'"),
            (
                "[hydra]\nconfig_dir = a\nconfig_module = b\n",
                "/repo/.dvc/config, line 3: hydra has either config_dir or config_module",
            ),
        ] {
            assert_eq!(config(text).unwrap_err().to_string(), expected);
        }
        let one = config("['remote \"s\"']\nurl = a\n").unwrap();
        assert_eq!(one.remote(Some("t")).unwrap_err().to_string(), "no remote is called 't'; there are: s");
        assert!(matches!(one.remote(None), Err(Error::NoDefaultRemote)));
    }

    #[test]
    fn features_that_nobody_knows_are_warned_of() {
        let config = config("[feature]\nmachine = true\nnew = 1\n").unwrap();
        assert_eq!(config.warnings(), ["'feature.new' config option is unsupported"]);
    }

    #[test]
    fn levels_shadow_each_other_and_an_edit_is_checked_with_those_beneath() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| Some(dir.path().join(name));
        let places = Places { system: None, global: file("g"), repository: file("r"), local: file("l") };
        let mut edit = Edit::open(&places, Level::Repository).unwrap();
        edit.add_remote("Store", "../store", dir.path()).unwrap();
        edit.set("core", "remote", "store").unwrap();
        assert_eq!(edit.save().unwrap(), Vec::<String>::new());
        let mut edit = Edit::open(&places, Level::Local).unwrap();
        edit.set("remote \"store\"", "jobs", "3").unwrap();
        edit.save().unwrap();
        let remote = Config::read_from(&places).unwrap().remote(None).unwrap();
        assert_eq!((remote.name.as_str(), remote.jobs), ("store", Some(3)));

        let mut edit = Edit::open(&places, Level::Local).unwrap();
        edit.set("remote \"store\"", "region", "x").unwrap();
        assert!(edit.save().is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("l")).unwrap(), "['remote \"store\"']\n    jobs = 3\n");
        assert!(Edit::open(&Places::default(), Level::Repository).is_err());
    }
}
