use towpath_api::runs::{CastStageVote, Run, StageStatus};

use super::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Agree to a stage that waits for an approval, or refuse it: who wrote the commit or started the run cannot
#[derive(clap::Args, Debug)]
pub struct Approve {
    /// The run's number
    number: i64,
    /// The stage that waits [default: the only one that does]
    stage: Option<String>,
    /// Say no: the stage fails
    #[arg(long)]
    refuse: bool,
    /// What the decision rests on; it goes into the ledger
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    project: Project,
}

impl Approve {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let (client, path) = (ctx.client()?, format!("/projects/{project}/runs/{}", self.number));
        let stage = match self.stage {
            Some(stage) => stage,
            None => the_one_that_waits(&client.get(&path).await?)?,
        };
        let vote = CastStageVote { approve: !self.refuse, reason: self.reason };
        let run: Run = client.post(&format!("{path}/stages/{stage}/vote"), &vote).await?;
        ctx.ui.show_as(&run, || {
            let verb = if vote.approve { "Approved" } else { "Refused" };
            let approval = run.stages.iter().find(|s| s.name == stage).and_then(|s| s.approval.as_ref());
            let given = approval.map_or(0, |a| a.votes.iter().filter(|vote| vote.approved).count());
            let needed = approval.map_or(0, |a| a.count);
            format!("{verb} stage {stage} of run {} of {project}: {given} of {needed} approvals", self.number)
        })?;
        Ok(Exit::Done)
    }
}

fn the_one_that_waits(run: &Run) -> Result<String, Error> {
    let waiting: Vec<&str> =
        run.stages.iter().filter(|s| s.status == StageStatus::Waiting).map(|s| s.name.as_str()).collect();
    match waiting.as_slice() {
        [stage] => Ok((*stage).to_owned()),
        [] => Err(Error::not_found(format!("no stage of run {} waits for an approval", run.summary.number))),
        several => Err(Error::invalid(format!("several stages wait: {}", several.join(", ")))),
    }
}
