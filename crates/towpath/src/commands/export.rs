use towpath_imports::Exported;

use crate::commands::import::records::{Place, credentials};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// Bring what is here to another server
#[derive(clap::Subcommand, Debug)]
pub enum Export {
    Mlflow(Mlflow),
}

/// Bring experiments, runs, files, logged and registered models to a running MLflow server
///
/// Its ids are its own; the tag towpath.run_id keeps ours. What was brought there is read again and
/// compared. Doing it again adds what is new since.
#[derive(clap::Args, Debug)]
pub struct Mlflow {
    /// The address of the MLflow server: http://...
    url: String,
    #[command(flatten)]
    place: Place,
}

impl Export {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Self::Mlflow(Mlflow { url, place }) = self;
        let (store, root) = place.open(ctx).await?;
        let done = towpath_imports::export(&store, &root, &url, credentials()).await?;
        ctx.ui.show_as(&done, || human(&done))?;
        Ok(if done.differences.is_empty() { Exit::Done } else { Exit::No })
    }
}

fn human(done: &Exported) -> String {
    let mut lines = vec![
        format!("Experiments: {}", done.experiments),
        format!("Runs: {}, {} of them new", done.runs, done.new_runs),
        format!("Points: {}, {} sent", done.points, done.new_points),
        format!("Logged models: {}, {} of them new", done.logged_models, done.new_logged_models),
        format!("Files: {} sent, {}", done.files, ui::bytes(done.bytes)),
        format!("Models: {}, with {} versions, {} of them new", done.models, done.versions, done.new_versions),
    ];
    if done.files_elsewhere > 0 {
        lines.push(format!(
            "The files of {} stay where they are",
            ui::count(done.files_elsewhere as u64, "run or model")
        ));
    }
    if done.differences.is_empty() {
        lines.push("Read again and compared: all is there as it is here".into());
    }
    lines.extend(done.differences.iter().map(|difference| format!("Differs: {difference}")));
    lines.join("\n")
}
