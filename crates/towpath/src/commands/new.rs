use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use towpath_core::Kind;
use towpath_core::names::is_valid_name;
use towpath_data::config::Level;
use towpath_data::{Config, Repository, hooks, verbs};
use towpath_git::WorkTree;
use towpath_pipeline::Cancel;
use towpath_pipeline::environment::Build;
use towpath_plan::towpath_yaml;

use crate::config::{Context, DEFAULT_SERVER};
use crate::error::{Error, Exit};
use crate::signals;
use crate::template::Template;

/// Write an example: a repository with code, data and pipeline, ready to be pushed
#[derive(clap::Args, Debug)]
pub struct New {
    /// The folder to make, also the name of the project and its model
    name: String,
    /// The example
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    template: Template,
}

impl New {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if !is_valid_name(&self.name) {
            return Err(Error::invalid(format!("'{}' cannot be the name of a project", self.name))
                .hint("begin with a letter or digit, then letters, digits, '.', '_', '-'; at most 100"));
        }
        let dir = Context::current_dir()?.join(&self.name);
        if dir.exists() {
            return Err(Error::new(Kind::Conflict, format!("{} exists already", dir.display())));
        }
        let cancel = signals::cancel_on_signal()?;
        if let Err(error) = self.make(ctx, &dir, &cancel) {
            // Half an example would be in the way of the next attempt; it is all ours.
            let _ = fs::remove_dir_all(&dir);
            return Err(error);
        }
        let listen = match ctx.server.strip_prefix("http://") {
            Some(address) if ctx.server != DEFAULT_SERVER => format!(" --listen {address}"),
            _ => String::new(),
        };
        ctx.ui.show_as(&json!({ "path": dir }), || {
            format!(
                "{name}/ is a repository with code, data and a pipeline. Next:\n\
                 \x20 towpath server{listen}    # in another terminal\n\
                 \x20 cd {name}\n\
                 \x20 git push\n\
                 \x20 towpath predict {name} --wait",
                name = self.name
            )
        })?;
        Ok(Exit::Done)
    }

    fn make(&self, ctx: &Context, dir: &Path, cancel: &Cancel) -> Result<(), Error> {
        self.template.write(dir, &self.name)?;
        let tree = WorkTree::init(dir)?;
        let repository = Repository::init(dir)?;
        hooks::install_pre_push(dir)?;
        self.make_data(ctx, &repository, cancel)?;
        let data: Vec<_> = self.template.data().iter().map(Into::into).collect();
        verbs::add(&repository, &data, &[], &ctx.ui.data_progress())?;
        let remote = format!("{}/dvc/{}", ctx.server, self.name);
        Config::write_remote(&repository.dvc_dir(), Level::Repository, "towpath", &remote, true)?;
        tree.add_remote("origin", &format!("{}/git/{}.git", ctx.server, self.name))?;
        tree.commit_all(&format!("Begin {}", self.name))?;
        Ok(())
    }

    /// Builds the environment that the stages will run in, and makes the data with it.
    fn make_data(&self, ctx: &Context, repository: &Repository, cancel: &Cancel) -> Result<(), Error> {
        let root = repository.root();
        let path = root.join("towpath.yaml");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let Some(requirements) = towpath_yaml::read("towpath.yaml", &text)?.python else { return Ok(()) };
        let environment = {
            let _waiting = ctx.ui.waiting("Building the Python environment; the first time takes minutes");
            let log = repository.tmp_dir().join("towpath/environment.log");
            let build = Build { log: &log, cancel, until: None };
            let environments = ctx.environments();
            let resolved = environments.resolve(root, &requirements, &build)?;
            environments.build(&resolved, &build)?
        };
        let _waiting = ctx.ui.waiting("Making the data");
        let script = self.template.data_script();
        let made = Command::new(environment.path.join("bin/python")).arg(script).current_dir(root).output();
        let made = made.map_err(Error::io("run", Path::new(script)))?;
        if made.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        Err(Error::new(Kind::Internal, format!("{script} of the example failed: {said}")))
    }
}
