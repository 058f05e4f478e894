//! `.dvc/config` and the levels around it: INI as ConfigObj writes it.
//!
//! Read: sections, keys, quoted values, comments. Which keys exist is DVC's business; those we use
//! are checked when used. Written: one key at a time, all other lines stay as they are.

use std::collections::BTreeMap;
use std::env;
use std::path::{Component, Path, PathBuf};

use crate::links::LinkType;
use crate::{Error, files};

/// Where a setting stands; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    System,
    Global,
    /// `.dvc/config`, in Git.
    Repository,
    /// `.dvc/config.local`, not in Git: the place of passwords.
    Local,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    value: String,
    file: PathBuf,
    line: usize,
}

/// All levels of one repository, merged.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// By section (`core`, `remote "name"`) and key.
    settings: BTreeMap<String, BTreeMap<String, Setting>>,
}

/// The `auth` of an HTTP remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    None,
    Basic {
        user: String,
        password: String,
    },
    /// A header of that name with the password in it.
    Header {
        name: String,
        value: String,
    },
}

/// A remote, its options resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    pub name: String,
    /// `http(s)://...` or an absolute folder.
    pub url: String,
    /// Transfers at the same time; `None`: as many as suit the machine.
    pub jobs: Option<usize>,
    pub auth: Auth,
    /// HTTP method of uploads, `POST` unless set.
    pub upload_method: String,
}

impl Config {
    /// Reads all levels of the repository whose `.dvc` folder this is.
    pub fn read(dvc_dir: &Path) -> Result<Self, Error> {
        let mut config = Self::default();
        let files = [
            user_file("DVC_SYSTEM_CONFIG_DIR", Some(PathBuf::from("/etc/xdg/dvc"))),
            user_file("DVC_GLOBAL_CONFIG_DIR", global_dir()),
            Some(dvc_dir.join("config")),
            Some(dvc_dir.join("config.local")),
        ];
        for file in files.into_iter().flatten() {
            if let Some(text) = files::read_text(&file)? {
                config.merge(&file, &text)?;
            }
        }
        Ok(config)
    }

    fn merge(&mut self, file: &Path, text: &str) -> Result<(), Error> {
        let mut section = None;
        for (i, line) in text.lines().enumerate() {
            let problem = |problem: &str| Error::Config {
                path: file.to_owned(),
                line: i + 1,
                problem: format!("{problem}, found '{}'", line.trim()),
            };
            match parse_line(line).map_err(problem)? {
                Line::Blank => {}
                Line::Section(name) => section = Some(name),
                Line::Setting(key, value) => {
                    let section =
                        section.clone().ok_or_else(|| problem("a [section] must stand before the first key"))?;
                    let setting = Setting { value, file: file.to_owned(), line: i + 1 };
                    self.settings.entry(section).or_default().insert(key, setting);
                }
            }
        }
        Ok(())
    }

    /// The value of a key, for example `("core", "remote")`.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.setting(section, key).map(|setting| setting.value.as_str())
    }

    fn setting(&self, section: &str, key: &str) -> Option<&Setting> {
        self.settings.get(section)?.get(key)
    }

    pub fn remote_names(&self) -> Vec<String> {
        self.settings.keys().filter_map(|section| remote_name(section).map(str::to_owned)).collect()
    }

    /// The remote of that name, or the default one.
    pub fn remote(&self, name: Option<&str>) -> Result<RemoteConfig, Error> {
        let name = name.or_else(|| self.get("core", "remote")).ok_or(Error::NoDefaultRemote)?;
        let section = remote_section(name);
        if !self.settings.contains_key(&section) {
            return Err(Error::UnknownRemote { name: name.to_owned(), known_names: self.remote_names() });
        }
        let bad = |problem: String| Error::RemoteConfig { name: name.to_owned(), problem };
        let get = |key: &str| self.get(&section, key);
        let url = self.setting(&section, "url").ok_or_else(|| bad("it has no url".into()))?;
        let jobs = get("jobs").map(|text| {
            let jobs = text.parse::<usize>().ok().filter(|jobs| (1..=256).contains(jobs));
            jobs.ok_or_else(|| bad(format!("jobs must be a number from 1 to 256, found '{text}'")))
        });
        let required = |key: &str| get(key).map(str::to_owned).ok_or_else(|| bad(format!("its auth needs '{key}'")));
        let auth = match get("auth") {
            None => Auth::None,
            Some("basic") => Auth::Basic { user: required("user")?, password: required("password")? },
            Some("custom") => Auth::Header { name: required("custom_auth_header")?, value: required("password")? },
            Some(other) => return Err(bad(format!("auth must be 'basic' or 'custom', found '{other}'"))),
        };
        Ok(RemoteConfig {
            name: name.to_owned(),
            url: resolve_url(url).map_err(bad)?,
            jobs: jobs.transpose()?,
            auth,
            upload_method: get("method").unwrap_or("POST").to_uppercase(),
        })
    }

    /// See [`crate::Repository::with_remote_password`].
    pub(crate) fn set_remote_password(&mut self, name: &str, user: &str, password: &str) {
        let Some(settings) = self.settings.get_mut(&remote_section(name)) else { return };
        if settings.contains_key("auth") {
            return;
        }
        for (key, value) in [("auth", "basic"), ("user", user), ("password", password)] {
            let setting = Setting { value: value.to_owned(), file: PathBuf::new(), line: 0 };
            settings.insert(key.to_owned(), setting);
        }
    }

    /// `cache.dir`, absolute.
    pub fn cache_dir(&self, dvc_dir: &Path) -> PathBuf {
        match self.setting("cache", "dir") {
            Some(setting) => relative_to_file(setting),
            None => dvc_dir.join("cache"),
        }
    }

    /// `cache.type`, in the order to try.
    pub fn cache_types(&self) -> Result<Vec<LinkType>, Error> {
        let Some(setting) = self.setting("cache", "type") else { return Ok(LinkType::DEFAULT.to_vec()) };
        let parse = |word: &str| {
            LinkType::parse(word.trim()).ok_or_else(|| Error::Config {
                path: setting.file.clone(),
                line: setting.line,
                problem: format!("cache.type must list reflink, hardlink, symlink or copy, found '{}'", word.trim()),
            })
        };
        setting.value.split(',').map(parse).collect()
    }

    /// With `core.hardlink_lock` real `dvc` takes a lock that we do not know.
    pub(crate) fn refuse_hardlink_lock(&self) -> Result<(), Error> {
        match self.setting("core", "hardlink_lock") {
            Some(setting) if setting.value.eq_ignore_ascii_case("true") => Err(Error::Config {
                path: setting.file.clone(),
                line: setting.line,
                problem: "core.hardlink_lock is not supported; set it to false".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Adds a remote to a level's file, or changes its url.
    pub fn write_remote(dvc_dir: &Path, level: Level, name: &str, url: &str, default: bool) -> Result<(), Error> {
        if !towpath_core::names::is_valid_name(name) {
            let problem = "a name has letters, digits, '.', '_' and '-' only".to_owned();
            return Err(Error::RemoteConfig { name: name.to_owned(), problem });
        }
        if default {
            Self::write(dvc_dir, level, "core", "remote", name)?;
        }
        Self::write(dvc_dir, level, &remote_section(name), "url", url)
    }

    /// Sets one key in a level's file. Relative paths are written as they are meant in the file:
    /// relative to its folder.
    pub fn write(dvc_dir: &Path, level: Level, section: &str, key: &str, value: &str) -> Result<(), Error> {
        let file = match level {
            Level::System => user_file("DVC_SYSTEM_CONFIG_DIR", Some(PathBuf::from("/etc/xdg/dvc"))),
            Level::Global => user_file("DVC_GLOBAL_CONFIG_DIR", global_dir()),
            Level::Repository => Some(dvc_dir.join("config")),
            Level::Local => Some(dvc_dir.join("config.local")),
        };
        let Some(file) = file else {
            let problem = "there is no home directory to keep it in".to_owned();
            return Err(Error::Config { path: PathBuf::from("config"), line: 0, problem });
        };
        let text = files::read_text(&file)?.unwrap_or_default();
        // A damaged file is reported, not written to.
        Self::default().merge(&file, &text)?;
        let mode = if level == Level::Local { 0o600 } else { 0o644 };
        files::write_with_mode(&file, with_setting(&text, section, key, value).as_bytes(), mode)
    }
}

/// The section of a remote as the file has it between the brackets, without ConfigObj's quotes.
fn remote_section(name: &str) -> String {
    format!("remote \"{name}\"")
}

fn remote_name(section: &str) -> Option<&str> {
    section.strip_prefix("remote \"")?.strip_suffix('"')
}

fn user_file(variable: &str, default: Option<PathBuf>) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).or(default).map(|dir| dir.join("config"))
}

fn global_dir() -> Option<PathBuf> {
    let config = env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    config.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"))).map(|dir| dir.join("dvc"))
}

fn resolve_url(url: &Setting) -> Result<String, String> {
    match url.value.split_once("://") {
        Some(("http" | "https", _)) => Ok(url.value.trim_end_matches('/').to_owned()),
        Some((scheme, _)) => {
            Err(format!("'{scheme}://' remotes are not supported yet; a folder, http:// and https:// are"))
        }
        None => Ok(relative_to_file(url).display().to_string()),
    }
}

/// Paths are relative to the file that names them; `..` is resolved without asking the disk, as DVC does.
fn relative_to_file(setting: &Setting) -> PathBuf {
    let folder = setting.file.parent().unwrap_or(Path::new("/"));
    let mut path = PathBuf::new();
    for part in folder.join(&setting.value).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

enum Line {
    Blank,
    Section(String),
    Setting(String, String),
}

/// Errors say what would be right.
fn parse_line(line: &str) -> Result<Line, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Blank);
    }
    if let Some(rest) = line.strip_prefix('[') {
        let end = rest.rfind(']').ok_or("a section ends with ']'")?;
        return Ok(Line::Section(unquote(rest[..end].trim())?.0));
    }
    let (key, rest) = line.split_once('=').ok_or("a setting is 'key = value'")?;
    let key = unquote(key.trim())?.0;
    if key.is_empty() {
        return Err("a setting is 'key = value'");
    }
    Ok(Line::Setting(key, value_of(rest.trim())?))
}

/// A value, or several joined with `,`; `#` outside quotes starts a comment.
fn value_of(text: &str) -> Result<String, &'static str> {
    let (mut value, mut rest) = unquote(text)?;
    while let Some(more) = rest.trim_start().strip_prefix(',') {
        let (next, after) = unquote(more.trim_start())?;
        if !next.is_empty() {
            value.push(',');
            value.push_str(&next);
        }
        rest = after;
    }
    match rest.trim_start() {
        "" => Ok(value),
        comment if comment.starts_with('#') => Ok(value),
        _ => Err("nothing may stand behind a quoted value"),
    }
}

/// The value at the start of `text` and what stands behind it.
fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    for quote in ["\"\"\"", "'''", "\"", "'"] {
        if let Some(rest) = text.strip_prefix(quote) {
            let end = rest.find(quote).ok_or("a quoted value ends with the quote it began with")?;
            return Ok((rest[..end].to_owned(), &rest[end + quote.len()..]));
        }
    }
    let end = text.find([',', '#']).unwrap_or(text.len());
    Ok((text[..end].trim_end().to_owned(), &text[end..]))
}

/// As ConfigObj: quoted when it would not read back otherwise.
fn quote(value: &str) -> String {
    let plain = !value.is_empty() && !value.contains(['"', '\'', ',', '#', '\n']) && value.trim() == value;
    if plain {
        value.to_owned()
    } else if !value.contains('"') {
        format!("\"{value}\"")
    } else if !value.contains('\'') {
        format!("'{value}'")
    } else {
        format!("\"\"\"{value}\"\"\"")
    }
}

/// The text with one key set, everything else untouched.
fn with_setting(text: &str, section: &str, key: &str, value: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let setting = format!("    {key} = {}", quote(value));
    let mut inside = false;
    let mut end_of_section = None;
    for i in 0..lines.len() {
        match parse_line(&lines[i]) {
            Ok(Line::Section(name)) => {
                inside = name == section;
                if inside {
                    end_of_section = Some(i + 1);
                }
            }
            Ok(Line::Setting(name, _)) if inside => {
                if name == key {
                    lines[i] = setting;
                    return lines.join("\n") + "\n";
                }
                end_of_section = Some(i + 1);
            }
            _ => {}
        }
    }
    if let Some(at) = end_of_section {
        lines.insert(at, setting);
    } else {
        let name = if section.contains('"') { format!("'{section}'") } else { section.to_owned() };
        lines.extend([format!("[{name}]"), setting]);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, Error> {
        let mut config = Config::default();
        config.merge(Path::new("/repo/.dvc/config"), text)?;
        Ok(config)
    }

    #[test]
    fn what_dvc_writes_is_read() {
        let text = "[core]\n    remote = o\n['remote \"o\"']\n    url = 'http://x/\"a,b#'  # comment\n    jobs = 4\n['remote \"loc\"']\n    url = ../../store\n[cache]\n    type = \"reflink,copy\"\n";
        let config = config(text).unwrap();
        assert_eq!(config.remote(None).unwrap().url, "http://x/\"a,b#");
        assert_eq!(config.remote(None).unwrap().jobs, Some(4));
        assert_eq!(config.remote(Some("loc")).unwrap().url, "/store");
        assert_eq!(config.remote_names(), ["loc", "o"]);
        assert_eq!(config.cache_types().unwrap(), [LinkType::Reflink, LinkType::Copy]);
        assert_eq!(config.cache_dir(Path::new("/repo/.dvc")), Path::new("/repo/.dvc/cache"));
    }

    #[test]
    fn a_list_may_stand_without_quotes() {
        let config = config("[cache]\ntype = hardlink, copy\n").unwrap();
        assert_eq!(config.cache_types().unwrap(), [LinkType::Hardlink, LinkType::Copy]);
    }

    #[test]
    fn errors_name_file_line_and_what_would_be_right() {
        for (text, expected) in [
            ("[core\n", "/repo/.dvc/config, line 1: a section ends with ']', found '[core'"),
            ("[core]\nremote\n", "/repo/.dvc/config, line 2: a setting is 'key = value', found 'remote'"),
            ("a = b\n", "/repo/.dvc/config, line 1: a [section] must stand before the first key, found 'a = b'"),
        ] {
            assert_eq!(config(text).unwrap_err().to_string(), expected);
        }
        let wrong = config("['remote \"s\"']\nurl = s3://bucket\n").unwrap();
        assert!(wrong.remote(Some("s")).unwrap_err().to_string().contains("not supported yet"));
        assert_eq!(wrong.remote(Some("t")).unwrap_err().to_string(), "no remote is called 't'; there are: s");
        assert!(matches!(wrong.remote(None), Err(Error::NoDefaultRemote)));
    }

    #[test]
    fn a_lock_of_another_kind_is_refused() {
        let refused = config("[core]\nhardlink_lock = true\n").unwrap().refuse_hardlink_lock().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "/repo/.dvc/config, line 2: core.hardlink_lock is not supported; set it to false"
        );
        assert!(config("[core]\nhardlink_lock = false\n").unwrap().refuse_hardlink_lock().is_ok());
    }

    #[test]
    fn setting_a_key_leaves_the_other_lines_alone() {
        let text = "# mine\n[core]\n    analytics = false\n['remote \"o\"']\n    url = a\n";
        assert_eq!(
            with_setting(text, "core", "remote", "o"),
            "# mine\n[core]\n    analytics = false\n    remote = o\n['remote \"o\"']\n    url = a\n"
        );
        assert_eq!(with_setting("", "remote \"o\"", "url", "a,b"), "['remote \"o\"']\n    url = \"a,b\"\n");
        assert_eq!(with_setting(text, "remote \"o\"", "url", "b"), text.replace("url = a", "url = b"));
    }
}
