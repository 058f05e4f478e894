use serde::Serialize;
use towpath_data::Repository;
use towpath_data::config::Level;

use super::config::places;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show the version and what it works with here
#[derive(clap::Args, Debug)]
pub struct Version {}

#[derive(Serialize)]
struct Installation {
    version: &'static str,
    platform: String,
    /// Schemes of remotes.
    supports: &'static [&'static str],
    /// The files of the configuration that are there.
    config: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<Project>,
}

#[derive(Serialize)]
struct Project {
    root: String,
    cache: String,
    /// In the order to try.
    cache_types: String,
    /// Their kinds.
    remotes: Vec<String>,
}

impl Version {
    pub fn run(ctx: &Context) -> Result<Exit, Error> {
        let places = places()?;
        let is_there = |level: Level| places.file(level).filter(|file| file.exists());
        let config = Level::ALL.into_iter().filter_map(is_there).map(|file| file.display().to_string()).collect();
        let repository = match Repository::find(&Context::current_dir()?) {
            Ok(repository) => Some(Project::of(&repository)?),
            Err(towpath_data::Error::NotARepository { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        ctx.ui.show(&Installation {
            version: env!("CARGO_PKG_VERSION"),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            supports: towpath_data::remote::SCHEMES,
            config,
            repository,
        })?;
        Ok(Exit::Done)
    }
}

impl Project {
    fn of(repository: &Repository) -> Result<Self, Error> {
        let config = repository.config();
        let kind = |name: &String| {
            let url = config.remote(Some(name)).ok()?.url;
            Some(url.split_once("://").map_or("local", |(scheme, _)| scheme).to_owned())
        };
        Ok(Self {
            root: repository.root().display().to_string(),
            cache: repository.cache()?.dir().display().to_string(),
            cache_types: config.get("cache", "type").unwrap_or("reflink,copy").to_owned(),
            remotes: config.remote_names().iter().filter_map(kind).collect(),
        })
    }
}

impl Human for Installation {
    fn human(&self) -> String {
        let mut fields = vec![
            ("Towpath", self.version.to_owned()),
            ("Platform", self.platform.clone()),
            ("Remotes supported", self.supports.join(", ")),
            ("Configuration", self.config.join(", ")),
        ];
        if let Some(project) = &self.repository {
            fields.extend([
                ("Repository", project.root.clone()),
                ("Cache", project.cache.clone()),
                ("Cache types", project.cache_types.clone()),
                ("Remotes", project.remotes.join(", ")),
            ]);
        }
        ui::fields(fields)
    }
}
