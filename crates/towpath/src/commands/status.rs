use std::fmt::Write as _;

use towpath_data::{Change, OutputStatus, status, verbs};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::Workspace;

/// Show tracked data and outputs of stages that are not as recorded
///
/// With --quiet the exit code tells: 1 when something differs.
#[derive(clap::Args, Debug)]
pub struct Status {}

impl Status {
    pub fn run(ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find()?;
        let mut differing = verbs::status(&repository, &stages)?;
        // An output that no run has made yet is no difference.
        let never_made = |d: &OutputStatus| {
            d.change == Change::Deleted
                && stages.iter().flat_map(|stage| &stage.outputs).any(|o| o.path == d.path && o.content.is_none())
        };
        differing.retain(|d| !never_made(d));
        ctx.ui.show_as(&status::to_json(&differing), || human(&differing))?;
        Ok(if ctx.ui.is_quiet() && !differing.is_empty() { Exit::No } else { Exit::Done })
    }
}

fn human(differing: &[OutputStatus]) -> String {
    if differing.is_empty() {
        return "Everything is as recorded.".into();
    }
    let mut text = String::new();
    let mut declared_by = "";
    for output in differing {
        if output.declared_by != declared_by {
            declared_by = &output.declared_by;
            let _ = writeln!(text, "{declared_by}:");
        }
        let _ = writeln!(text, "  {:<14}{}", format!("{}:", output.change), output.path);
    }
    text
}
