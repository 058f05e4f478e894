use std::path::PathBuf;

use serde_json::json;
use towpath_data::config::{Config as Settings, Edit, Level, Places, remote_section};
use towpath_data::{Error as DataError, Repository};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Get or set options of the configuration: `section.option`, `remote.NAME.option`
///
/// Without a level, a value is read from the last one that has it and written to `.dvc/config`.
#[derive(clap::Args, Debug)]
pub struct Config {
    #[command(flatten)]
    level: LevelFlags,
    /// Remove the option
    #[arg(long, short)]
    unset: bool,
    /// List all options that are set
    #[arg(long, short)]
    list: bool,
    /// Show the file that each value is from
    #[arg(long)]
    show_origin: bool,
    /// section.option, remote.NAME.option or db.NAME.option
    #[arg(value_parser = OptionName::parse)]
    name: Option<OptionName>,
    /// The value to set
    #[arg(requires = "name", allow_hyphen_values = true)]
    value: Option<String>,
}

/// Which of the four files is meant.
#[derive(clap::Args, Debug)]
#[group(id = "level", multiple = false)]
pub struct LevelFlags {
    /// The configuration of this user
    #[arg(long)]
    global: bool,
    /// The configuration of this machine
    #[arg(long)]
    system: bool,
    /// The configuration of this project, .dvc/config
    #[arg(long)]
    project: bool,
    /// The configuration of this clone, .dvc/config.local
    #[arg(long)]
    local: bool,
}

impl LevelFlags {
    pub fn level(&self) -> Option<Level> {
        [
            (self.global, Level::Global),
            (self.system, Level::System),
            (self.project, Level::Repository),
            (self.local, Level::Local),
        ]
        .into_iter()
        .find_map(|(asked, level)| asked.then_some(level))
    }

    /// The configuration as this level has it, or all levels merged; not checked, so that what is wrong
    /// can be looked at and repaired.
    pub fn read(&self) -> Result<Settings, Error> {
        let places = places()?;
        match self.level() {
            Some(level) => read_level(&places, level),
            None => Ok(Settings::of_levels(&places, &Level::ALL)?),
        }
    }

    /// Opens the file of this level to change it, `.dvc/config` unless another one is asked for.
    pub fn edit(&self) -> Result<Edit, Error> {
        Ok(Edit::open(&places()?, self.level().unwrap_or(Level::Repository))?)
    }

    /// The levels whose mention of a remote goes with the remote: this one and those above it, which
    /// would shadow it.
    pub fn and_above(&self) -> impl Iterator<Item = Level> {
        let lowest = self.level().unwrap_or(Level::Repository);
        Level::ALL.into_iter().rev().filter(move |level| *level >= lowest)
    }
}

/// The files of all levels, seen from the current folder.
pub fn places() -> Result<Places, Error> {
    match Repository::find_root(&Context::current_dir()?) {
        Ok(root) => Ok(Places::of(Some(&root.join(".dvc")))),
        Err(DataError::NotARepository { .. }) => Ok(Places::of(None)),
        Err(error) => Err(error.into()),
    }
}

/// Writes the file and says what DVC would warn of.
pub fn save(ctx: &Context, edit: Edit) -> Result<(), Error> {
    for warning in edit.save()? {
        ctx.ui.note(format!("warning: {warning}"));
    }
    Ok(())
}

fn read_level(places: &Places, level: Level) -> Result<Settings, Error> {
    if places.file(level).is_none() && level >= Level::Repository {
        return Err(DataError::NotARepository { from: PathBuf::from(".") }.into());
    }
    Ok(Settings::of_levels(places, &[level])?)
}

/// An option as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OptionName {
    /// `core`, `remote "name"`.
    section: String,
    key: String,
}

impl OptionName {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_lowercase();
        let parts: Vec<&str> = text.split('.').collect();
        let (section, key) = match parts.as_slice() {
            [section, key] => ((*section).to_owned(), *key),
            ["remote", name, key] => (remote_section(name), *key),
            ["db", name, key] => (format!("db \"{name}\""), *key),
            _ => return Err("expected section.option, remote.NAME.option or db.NAME.option".into()),
        };
        if section.is_empty() || key.is_empty() {
            return Err("neither section nor option may be empty".into());
        }
        Ok(Self { section, key: key.to_owned() })
    }

    fn is_missing(&self, has_section: bool) -> Error {
        match self.section.split_once(" \"") {
            Some((kind, name)) if !has_section => {
                Error::not_found(format!("{kind} '{}' doesn't exist", name.trim_end_matches('"')))
            }
            _ => Error::not_found(format!("option '{}' doesn't exist in section '{}'", self.key, self.section)),
        }
    }
}

impl Config {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let changes = self.value.is_some() || self.unset;
        if self.show_origin && changes {
            return Err(Error::invalid("--show-origin can't be used together with --unset or a value"));
        }
        if self.list {
            if self.name.is_some() || changes {
                return Err(Error::invalid("--list can't be used together with --unset, a name or a value"));
            }
            return self.print_all(ctx);
        }
        match &self.name {
            None => Err(Error::invalid("the name of an option is required").hint("list all with --list")),
            Some(name) if changes => self.change(ctx, name),
            Some(name) => self.print_one(ctx, name),
        }
    }

    fn levels(&self, places: &Places) -> Vec<Level> {
        let levels = self.level.level().map_or_else(|| Level::ALL.to_vec(), |level| vec![level]);
        levels.into_iter().filter(|level| self.level.level().is_some() || places.file(*level).is_some()).collect()
    }

    fn print_all(&self, ctx: &Context) -> Result<Exit, Error> {
        let places = places()?;
        let mut lines = Vec::new();
        let mut entries = Vec::new();
        for level in self.levels(&places) {
            let origin = origin(&places, level);
            for (name, value) in read_level(&places, level)?.entries() {
                let prefix = if self.show_origin { format!("{origin}\t") } else { String::new() };
                lines.push(format!("{prefix}{name}={value}"));
                entries.push(json!({ "name": name, "value": value, "origin": origin }));
            }
        }
        print(ctx, &json!(entries), &lines.join("\n"))
    }

    fn print_one(&self, ctx: &Context, name: &OptionName) -> Result<Exit, Error> {
        let places = places()?;
        for level in self.levels(&places).into_iter().rev() {
            let settings = read_level(&places, level)?;
            if let Some(value) = settings.get(&name.section, &name.key) {
                let origin = origin(&places, level);
                let line = if self.show_origin { format!("{origin}\t{value}") } else { value.to_owned() };
                return print(ctx, &json!({ "value": value, "origin": origin }), &line);
            }
            if self.level.level().is_some() {
                return Err(name.is_missing(settings.has_section(&name.section)));
            }
        }
        // As DVC: an option that is set nowhere prints nothing, and is no failure.
        print(ctx, &json!(null), "")
    }

    fn change(&self, ctx: &Context, name: &OptionName) -> Result<Exit, Error> {
        let mut edit = self.level.edit()?;
        match &self.value {
            Some(value) if !self.unset => {
                edit.set_given(&name.section, &name.key, value, &Context::current_dir()?)?;
            }
            _ => {
                let has_section = edit.has_section(&name.section);
                if !edit.unset(&name.section, &name.key) {
                    return Err(name.is_missing(has_section));
                }
            }
        }
        save(ctx, edit)?;
        if name.section == "cache" && name.key == "type" {
            ctx.ui.note("warning: links that are in the workspace already stay as they are");
            ctx.ui.note("hint: replace them with `towpath checkout --relink`");
        }
        Ok(Exit::Done)
    }
}

/// A result that is nothing at all when it is empty.
fn print(ctx: &Context, json: &serde_json::Value, text: &str) -> Result<Exit, Error> {
    if text.is_empty() && !ctx.ui.is_json() {
        return Ok(Exit::Done);
    }
    ctx.ui.show_as(json, || text.to_owned())?;
    Ok(Exit::Done)
}

/// The file of a level; that of a repository relative to its root.
fn origin(places: &Places, level: Level) -> String {
    match level {
        Level::Repository => ".dvc/config".to_owned(),
        Level::Local => ".dvc/config.local".to_owned(),
        _ => places.file(level).map(|file| file.display().to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_dvc_names_them() {
        let parse = |text| OptionName::parse(text).map(|name| (name.section, name.key));
        assert_eq!(parse("Core.Remote"), Ok(("core".into(), "remote".into())));
        assert_eq!(parse("remote.Store.url"), Ok(("remote \"store\"".into(), "url".into())));
        for bad in ["core", "core.", ".remote", "machine.a.url", "a.b.c.d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
