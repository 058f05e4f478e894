use std::io::BufRead as _;

use serde_json::json;
use towpath_data::Repository;
use towpath_data::ignore::{self, MatchedPattern};

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Show which paths a .dvcignore excludes; exits with 1 when none is
#[derive(clap::Args, Debug)]
pub struct CheckIgnore {
    /// Files or folders; they need not exist
    #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
    targets: Vec<String>,
    /// Show the pattern that decides beside each path
    #[arg(long, short)]
    details: bool,
    /// Show all patterns that match
    #[arg(long, short, requires = "details", hide = true)]
    all: bool,
    /// With --details, show paths without a pattern, too
    #[arg(long, short, requires = "details")]
    non_matching: bool,
    /// Read paths from standard input, one a line
    #[arg(long)]
    stdin: bool,
}

impl CheckIgnore {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if self.details && ctx.ui.is_quiet() {
            return Err(Error::invalid("--details and --quiet contradict each other"));
        }
        let repository = workspace::repository(ctx)?;
        let mut any = false;
        if self.stdin {
            for line in std::io::stdin().lock().lines() {
                let target = line.map_err(Error::io("read", std::path::Path::new("standard input")))?;
                if target.is_empty() {
                    break;
                }
                any |= self.check(ctx, &repository, &target)?;
            }
        }
        for target in &self.targets {
            any |= self.check(ctx, &repository, target)?;
        }
        Ok(if any { Exit::Done } else { Exit::No })
    }

    /// True if something was found of it.
    fn check(&self, ctx: &Context, repository: &Repository, target: &str) -> Result<bool, Error> {
        let matched = ignore::matching_patterns(repository.root(), &canonical_dir()?.join(target))?;
        let excluded = matched.last().is_some_and(|last| !last.pattern.trim_start().starts_with('!'));
        if !self.details {
            if excluded {
                ctx.ui.show_as(&json!({ "path": target }), || target.to_owned())?;
            }
            return Ok(excluded);
        }
        let shown = |m: &MatchedPattern| format!("{}:{}:{}", m.file.display(), m.line, m.pattern);
        let mut patterns: Vec<String> = matched.iter().map(shown).collect();
        if patterns.is_empty() && self.non_matching {
            patterns.push("::".to_owned());
        }
        let first = if self.all { 0 } else { patterns.len().saturating_sub(1) };
        for pattern in &patterns[first..] {
            ctx.ui.show_as(&json!({ "path": target, "pattern": pattern }), || format!("{pattern}\t{target}"))?;
        }
        Ok(!matched.is_empty())
    }
}
