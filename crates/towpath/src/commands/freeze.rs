use serde_json::json;
use towpath_data::targets::choose;
use towpath_data::{Repository, Targets};
use towpath_pipeline::engine;
use towpath_yaml::{Step, Value, edit};

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{self, declared, read};

/// Freeze stages and .dvc files: `repro` leaves them as they are
#[derive(clap::Args, Debug)]
pub struct Freeze {
    #[arg(required = true)]
    targets: Vec<String>,
}

/// Let `repro` bring frozen stages and .dvc files up to date again
#[derive(clap::Args, Debug)]
pub struct Unfreeze {
    #[arg(required = true)]
    targets: Vec<String>,
}

impl Freeze {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        set(ctx, self.targets, true)
    }
}

impl Unfreeze {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        set(ctx, self.targets, false)
    }
}

fn set(ctx: &Context, targets: Vec<String>, frozen: bool) -> Result<Exit, Error> {
    let repository = workspace::repository(ctx)?;
    let _lock = repository.lock()?;
    let pipeline = engine::read_pipelines(&repository)?;
    let all = repository.stages(&declared(&pipeline, "")?)?;
    let mut names = Vec::new();
    for chosen in choose(&repository, &all, &Targets::named(&canonical_dir()?, targets))? {
        write(&repository, chosen.stage, frozen)?;
        names.push(chosen.stage.addressing());
    }
    let word = if frozen { "frozen" } else { "unfrozen" };
    ctx.ui.show_as(&json!({ word: names }), || format!("{word}: {}", names.join(", ")))?;
    Ok(Exit::Done)
}

fn write(repository: &Repository, stage: &towpath_data::Stage, frozen: bool) -> Result<(), Error> {
    let file = &stage.file;
    let text = read(&repository.root().join(file))?.unwrap_or_default();
    let path = match &stage.name {
        None => vec![Step::Key("frozen")],
        Some(name) => {
            let root = towpath_yaml::parse(file, &text)?.root().to_value();
            if root.get("stages").and_then(|stages| stages.get(name)).is_none() {
                let group = name.split('@').next().unwrap_or(name);
                return Err(Error::invalid(format!("stage '{name}' is generated, so it cannot be frozen alone"))
                    .hint(format!("write 'frozen: true' into '{group}' of {file}")));
            }
            vec![Step::Key("stages"), Step::Key(name), Step::Key("frozen")]
        }
    };
    let text =
        if frozen { edit::set(file, &text, &path, &Value::Bool(true))? } else { edit::remove(file, &text, &path)? };
    Ok(repository.write(file, &text)?)
}
