use towpath_imports::{Credentials, Source, Synced};

use crate::commands::import::records::credentials;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// Bring what was logged offline to a running server: a Towpath, or an MLflow server
///
/// What is there already is not sent again: sync once more when a run has gone on, or after a sync that
/// broke off. What was brought is read again and compared.
#[derive(clap::Args, Debug)]
pub struct Sync {
    /// MLflow's mlruns/ or its database (sqlite:///PATH), a folder of DVCLive, offline runs of Weights &
    /// Biases, or TensorBoard's event files
    folder: String,
    /// Where to [default: the server of --server]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The experiment of runs whose files name none (DVCLive, TensorBoard) [default: the name of the folder]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
}

impl Sync {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let source = Source::offline(&self.folder, self.experiment.as_deref()).await?;
        let url = self.to.as_deref().unwrap_or(&ctx.server);
        let credentials = match (&ctx.token, ctx.is_on_server(url)) {
            (Some(token), true) => Credentials::Token(token.clone()),
            _ => credentials(),
        };
        let synced = towpath_imports::sync(&source, url, credentials).await?;
        ctx.ui.show_as(&synced, || human(&synced, url))?;
        Ok(if synced.sent.differences.is_empty() { Exit::Done } else { Exit::No })
    }
}

fn human(synced: &Synced, url: &str) -> String {
    let sent = &synced.sent;
    let running = match synced.running {
        0 => String::new(),
        n => format!(", {n} of them running"),
    };
    let mut lines = vec![
        format!("Runs: {}, {} of them new there{running}", sent.runs, sent.new_runs),
        format!("Points: {}, {} sent", sent.points, sent.new_points),
        format!("Files: {} sent, {}", sent.files, ui::bytes(sent.bytes)),
    ];
    if sent.logged_models > 0 {
        lines.push(format!("Logged models: {}, {} of them new there", sent.logged_models, sent.new_logged_models));
    }
    if sent.models > 0 {
        lines.push(format!(
            "Models: {}, with {} versions, {} of them new there",
            sent.models, sent.versions, sent.new_versions
        ));
    }
    if sent.files_elsewhere > 0 {
        let which = ui::count(sent.files_elsewhere as u64, "run or model");
        lines.push(format!("The files of {which} stay where they are: in a bucket, or where the server stores none"));
    }
    if sent.differences.is_empty() {
        lines.push(format!("Read again and compared: all is at {url}"));
    }
    lines.extend(sent.differences.iter().map(|difference| format!("Differs: {difference}")));
    lines.join("\n")
}
