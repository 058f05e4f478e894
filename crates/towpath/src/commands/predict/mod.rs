mod endpoint;
mod quantiles;
mod replay;
mod samples;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use towpath_api::deployments::Deployment;

use self::endpoint::Endpoint;
use self::samples::Samples;
use crate::config::{Context, duration};
use crate::error::{Error, Exit};
use crate::ui;

/// Lines of an input file that are predicted one by one.
const MOST_INPUTS: usize = 1000;

/// Ask a deployed model: one answer for each line of a file, or live traffic played from it
#[derive(clap::Args, Debug)]
pub struct Predict {
    /// The project, or the address of a deployment (http://...)
    name: String,
    /// Which of the project's deployments
    #[arg(long, short, default_value = "production", value_name = "NAME")]
    environment: String,
    /// A CSV file with a header; each line is predicted
    #[arg(long, value_name = "CSV", conflicts_with = "replay")]
    input: Option<PathBuf>,
    /// A CSV file with a header, played over and over as live traffic
    #[arg(long, value_name = "CSV")]
    replay: Option<PathBuf>,
    /// Requests a second
    #[arg(long, default_value_t = 10.0, requires = "replay", value_name = "N", value_parser = rate)]
    rate: f64,
    /// How long; Ctrl-C ends it earlier, with the same report
    #[arg(long, default_value = "1m", requires = "replay", value_name = "TIME", value_parser = duration)]
    duration: Duration,
    /// The column with the right answers [default: the last one, when the model reads all others]
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Send the right answer this long after the prediction
    #[arg(long, default_value = "1s", requires = "replay", value_name = "TIME", value_parser = duration)]
    label_delay: Duration,
    /// Wait until the deployment answers, telling what goes on
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, default_value = "10m", requires = "wait", value_parser = duration)]
    timeout: Duration,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if rate > 0.0 && rate <= 10_000.0 { Ok(rate) } else { Err("expected a number above 0, at most 10000".into()) }
}

impl Predict {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let endpoint = self.endpoint(ctx).await?;
        if let Some(file) = &self.replay {
            let samples = Samples::read(file, &endpoint.inputs, self.label_column.as_deref(), None)?;
            let pace = replay::Pace { rate: self.rate, duration: self.duration, label_delay: self.label_delay };
            let report = replay::play(ctx, &endpoint, &samples, pace).await?;
            ctx.ui.show(&report)?;
            return Ok(if report.failed == 0 { Exit::Done } else { Exit::No });
        }
        let (file, most) = match &self.input {
            Some(file) => (file.clone(), MOST_INPUTS),
            // What `towpath new` wrote beside the example.
            None => (sample_file()?, 1),
        };
        let samples = Samples::read(&file, &endpoint.inputs, self.label_column.as_deref(), Some(most))?;
        let mut predictions = Vec::new();
        for sample in &samples.all {
            let answer = endpoint.predict(sample.body.clone()).await?;
            predictions.push(json!({ "id": answer.id, "label": answer.label, "revision": answer.revision }));
        }
        ctx.ui.show_as(&json!({ "predictions": predictions }), || human(&predictions))?;
        Ok(Exit::Done)
    }

    async fn endpoint(&self, ctx: &Context) -> Result<Endpoint, Error> {
        if self.name.starts_with("http://") || self.name.starts_with("https://") {
            return Endpoint::open(&self.name, None, ctx.token.clone()).await;
        }
        if self.wait {
            return wait::until_it_answers(ctx, &self.name, &self.environment, self.timeout).await;
        }
        let path = format!("/deployments/{}/{}", self.name, self.environment);
        let deployment: Deployment = ctx.client()?.get(&path).await.map_err(|error| {
            let error = Error::from(error);
            let nothing_yet = error.kind() == towpath_core::Kind::NotFound;
            if nothing_yet { error.hint("wait for it with --wait") } else { error }
        })?;
        Endpoint::open(&deployment.address, Some(deployment.model), ctx.token.clone()).await
    }
}

fn sample_file() -> Result<PathBuf, Error> {
    let path = PathBuf::from("incoming/live.csv");
    if path.is_file() { Ok(path) } else { Err(Error::invalid("nothing to predict").hint("name a file: --input CSV")) }
}

fn human(predictions: &[Value]) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = predictions.iter().map(|p| [text(&p["label"]), text(&p["revision"]), text(&p["id"])]);
    let table = ui::table(["LABEL", "REVISION", "PREDICTION"], rows);
    match predictions {
        [only] => format!("{table}\nWhere it comes from: towpath trace {}", text(&only["id"])),
        _ => table,
    }
}
