use futures_util::{StreamExt as _, pin_mut};
use towpath_api::runs::{LogLine, LogPage, Run, StageStatus};

use super::{Project, newest};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Lines that one request asks for.
const PAGE: usize = 1000;

/// Print what the stages of a run printed
#[derive(clap::Args, Debug)]
pub struct Logs {
    /// The run's number [default: the newest]
    number: Option<i64>,
    /// One stage [default: all that ran]
    #[arg(long, short)]
    stage: Option<String>,
    /// Go on until the stages end
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    project: Project,
}

impl Logs {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let number = match self.number {
            Some(number) => number,
            None => newest(ctx, &project).await?,
        };
        let run_path = format!("/projects/{project}/runs/{number}");
        let run: Run = ctx.client()?.get(&run_path).await?;
        let asked = |name: &str| self.stage.as_deref().is_none_or(|stage| stage == name);
        let stages: Vec<_> = run.stages.iter().filter(|stage| asked(&stage.name)).collect();
        if let (Some(stage), true) = (&self.stage, stages.is_empty()) {
            let known: Vec<&str> = run.stages.iter().map(|stage| stage.name.as_str()).collect();
            return Err(Error::not_found(format!("run {number} has no stage '{stage}'"))
                .hint(format!("stages: {}", known.join(", "))));
        }
        for stage in stages {
            let untouched = matches!(stage.status, StageStatus::Reused | StageStatus::Skipped);
            if untouched && self.stage.is_none() {
                continue;
            }
            let path = format!("{run_path}/stages/{}/log", stage.name);
            if self.follow {
                follow(ctx, &path, &stage.name).await?;
            } else {
                print(ctx, &path, &stage.name).await?;
            }
        }
        Ok(Exit::Done)
    }
}

async fn print(ctx: &Context, path: &str, stage: &str) -> Result<(), Error> {
    let client = ctx.client()?;
    let mut from = 0;
    loop {
        let page: LogPage = client.get(&format!("{path}?from={from}&limit={PAGE}")).await?;
        if page.lines.is_empty() {
            return Ok(());
        }
        from += page.lines.len() as u64;
        for line in &page.lines {
            show(ctx, stage, line)?;
        }
    }
}

async fn follow(ctx: &Context, path: &str, stage: &str) -> Result<(), Error> {
    let lines = ctx.client()?.lines::<LogLine>(&format!("{path}?follow=true")).await?;
    pin_mut!(lines);
    while let Some(line) = lines.next().await {
        show(ctx, stage, &line?)?;
    }
    Ok(())
}

fn show(ctx: &Context, stage: &str, line: &LogLine) -> Result<(), Error> {
    ctx.ui.show_as(line, || format!("{stage} {:>8.2}  {}", line.seconds, line.text))
}
