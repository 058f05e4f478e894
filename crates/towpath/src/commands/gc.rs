use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use towpath_api::Page;
use towpath_api::models::Model;
use towpath_core::{Clock as _, SystemClock, Timestamp};
use towpath_data::config::{RemoteConfig, RemoteKind};
use towpath_data::gc::{self, Amount, Needed, Plan, clones, trash};
use towpath_data::{Oid, Repository, remote};
use towpath_git::WorkTree;
use towpath_git::revisions::Scope;

use crate::config::{Context, duration, wait};
use crate::error::{Error, Exit};
use crate::ui::{self, Human};
use crate::workspace::{repository, with_token};

/// How many objects are named before asking.
const SHOWN: usize = 10;

/// Remove data from the cache or a remote that no chosen revision needs
///
/// Shows first what would go. From folders it goes to a trash, from where `--undo` brings it back. What
/// another clone, another project or a registered model needs is kept.
#[derive(clap::Args, Debug)]
pub struct Gc {
    /// Keep what the workspace needs
    #[arg(long, short)]
    workspace: bool,
    /// Keep what this revision needs
    #[arg(long, value_name = "COMMIT")]
    rev: Option<String>,
    /// Keep what the last so many commits of each branch or of --rev need [default: 1]
    #[arg(long, short = 'n', value_name = "NUMBER")]
    num: Option<usize>,
    /// Keep what the tips of all branches need
    #[arg(long, short)]
    all_branches: bool,
    /// Keep what all tags need
    #[arg(long, short = 'T')]
    all_tags: bool,
    /// Keep what any commit needs
    #[arg(long, short = 'A')]
    all_commits: bool,
    /// Keep what commits of this day and later need
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Keep what all experiments need
    #[arg(long)]
    all_experiments: bool,
    /// Keep of the needed data only what is not on the remote
    #[arg(long, conflicts_with = "cloud")]
    not_in_remote: bool,
    /// Collect on the remote, too
    #[arg(long, short)]
    cloud: bool,
    /// The remote, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
    /// Pass over files of old commits that cannot be read
    #[arg(long)]
    skip_failed: bool,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Requests at the same time
    #[arg(long, short, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// Keep what these projects need, too
    #[arg(long, short, num_args = 0.., value_name = "PATHS")]
    projects: Vec<PathBuf>,
    /// Show what would go and stop
    #[arg(long)]
    dry: bool,
    /// Bring back what the last collection put into the trash
    #[arg(long, conflicts_with_all = ["purge", "workspace", "rev", "all_branches", "all_tags", "all_commits", "date", "all_experiments"])]
    undo: bool,
    /// Empty the trash for good
    #[arg(long, conflicts_with_all = ["workspace", "rev", "all_branches", "all_tags", "all_commits", "date", "all_experiments"])]
    purge: bool,
    /// How long the trash keeps what a collection put there
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "7d")]
    grace: Duration,
}

/// A place with its garbage.
struct Place {
    name: String,
    plan: Plan,
    remote: Option<RemoteConfig>,
    /// A folder, with a trash.
    dir: Option<PathBuf>,
}

impl Gc {
    pub fn run(mut self, ctx: &Context) -> Result<Exit, Error> {
        let repository = with_token(ctx, repository(ctx)?);
        let _lock = repository.lock()?;
        if self.undo || self.purge {
            return self.empty_or_undo(ctx, &repository);
        }
        self.check()?;
        let mut needed = self.needed(ctx, &repository)?;
        let cache = repository.cache()?;
        let unknown = needed.expand(&cache)?;
        if !unknown.is_empty() {
            ctx.ui.note(format!(
                "warning: {} not in the cache, first {}: their files are not known to be needed; fetch them first with \
                 `towpath fetch`",
                are(unknown.len(), "folder"),
                unknown[0]
            ));
        }
        let on_remote = self.remote_config(&repository)?;
        let mut places = Vec::new();
        if let Some(config) = on_remote.as_ref().filter(|_| self.cloud) {
            let dir = (config.kind == RemoteKind::Local).then(|| PathBuf::from(&config.url));
            if config.is_version_aware() {
                return Err(Error::invalid(format!(
                    "remote '{}' keeps versions itself: nothing is collected there",
                    config.name
                )));
            }
            let present = match &dir {
                Some(dir) => gc::objects_in(dir)?,
                None => gc::objects_on(remote::open(config)?.as_ref())?,
            };
            let name = format!("the remote {}", config.name);
            places.push(Place { name, plan: gc::plan(present, &needed), remote: Some(config.clone()), dir });
        }
        if let Some(config) = on_remote.filter(|_| self.not_in_remote) {
            let there = remote::open(&config)?;
            let wanted = needed.oids().cloned().collect();
            needed.remove(&gc::present_on(there.as_ref(), wanted, &ctx.ui.data_progress())?);
        }
        let dir = Some(cache.dir().to_owned());
        let plan = gc::plan(gc::objects_in(cache.dir())?, &needed);
        places.insert(0, Place { name: "the cache".into(), plan, remote: None, dir });
        self.collect(ctx, &places)
    }

    /// DVC's rules of what goes together.
    fn check(&mut self) -> Result<(), Error> {
        if self.remote.is_some() && !(self.cloud || self.not_in_remote) {
            return Err(Error::invalid("--remote requires --cloud or --not-in-remote"));
        }
        let chosen = self.workspace
            || self.all_branches
            || self.all_tags
            || self.all_commits
            || self.all_experiments
            || self.date.is_some()
            || self.rev.is_some();
        if !chosen {
            return Err(Error::invalid(
                "choose what to keep: --workspace, --all-branches, --all-tags, --all-commits, --all-experiments, --date \
                 or --rev",
            ));
        }
        if self.num.is_some() && !(self.rev.is_some() || self.all_branches) {
            return Err(Error::invalid("--num goes with --rev or --all-branches"));
        }
        Ok(())
    }

    fn scope(&self) -> Scope {
        Scope {
            branches: self.all_branches,
            tags: self.all_tags,
            commits: self.all_commits,
            experiments: self.all_experiments,
            revision: self.rev.clone(),
            last: self.num.unwrap_or(1),
            since: self.date.clone(),
        }
    }

    fn needed(&self, ctx: &Context, repository: &Repository) -> Result<Needed, Error> {
        let mut needed = Needed::default();
        let scope = self.scope();
        self.read_repository(ctx, &mut needed, None, repository.root(), &scope)?;
        for path in &self.projects {
            let project = Repository::find(path)?;
            let name = project.root().display().to_string();
            self.read_repository(ctx, &mut needed, Some(&name), project.root(), &scope)?;
        }
        // Other clones did not choose what to keep: all that they may check out stays.
        let all = Scope { branches: true, tags: true, experiments: true, revision: None, ..scope };
        for root in clones::others(repository.cache()?.dir(), repository.root())? {
            self.read_repository(ctx, &mut needed, Some(&root.display().to_string()), &root, &all)?;
        }
        read_models(ctx, &mut needed, repository);
        Ok(needed)
    }

    fn read_repository(
        &self,
        ctx: &Context,
        needed: &mut Needed,
        by: Option<&str>,
        root: &Path,
        scope: &Scope,
    ) -> Result<(), Error> {
        needed.read_workspace(by, root)?;
        let tree = match WorkTree::discover(root) {
            Ok(tree) => tree,
            // Without Git there are no revisions.
            Err(towpath_git::Error::NotARepository(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for version in tree.versions(&tree.select(scope)?, Needed::is_said_by)? {
            let text = String::from_utf8_lossy(&version.content);
            match needed.read(by, &version.name, &text) {
                Err(error) if self.skip_failed => ctx.ui.note(format!("warning: passed over: {error}")),
                other => other
                    .map_err(|error| Error::from(error).hint("pass over what cannot be read with --skip-failed"))?,
            }
        }
        Ok(())
    }

    fn remote_config(&self, repository: &Repository) -> Result<Option<RemoteConfig>, Error> {
        if !(self.cloud || self.not_in_remote) {
            return Ok(None);
        }
        let mut config = repository.config().remote(self.remote.as_deref())?;
        config.jobs = self.jobs.or(config.jobs);
        Ok(Some(config))
    }

    fn collect(&self, ctx: &Context, places: &[Place]) -> Result<Exit, Error> {
        let report = Report::of(places);
        if self.dry {
            ctx.ui.show(&report)?;
            return Ok(Exit::Done);
        }
        if places.iter().all(|place| place.plan.garbage.is_empty()) {
            ctx.ui.show(&report)?;
            return Ok(Exit::Done);
        }
        if !self.force {
            ctx.ui.note(report.human());
            if !ctx.ui.confirm("Are you sure you want to proceed?") {
                return Ok(Exit::No);
            }
        }
        let now = SystemClock.now();
        for place in places {
            match (&place.dir, &place.remote) {
                (Some(dir), _) => {
                    trash::purge(dir, Timestamp::from_millis(now.millis() - self.grace.as_millis() as i64))?;
                    trash::discard(dir, &place.plan.garbage, now)?;
                }
                (None, Some(config)) => gc::delete_from(remote::open(config)?.as_ref(), &place.plan.garbage)?,
                (None, None) => {}
            }
        }
        if self.force {
            ctx.ui.show(&report)?;
        }
        if places.iter().any(|place| place.dir.is_some()) {
            let until = ui::time(now.plus(self.grace));
            ctx.ui.note(format!(
                "The trash keeps it until {until}: `towpath gc --undo` brings it back, `towpath gc --purge` frees the space now."
            ));
        }
        Ok(Exit::Done)
    }

    fn empty_or_undo(&self, ctx: &Context, repository: &Repository) -> Result<Exit, Error> {
        let mut dirs = vec![("the cache".to_owned(), repository.cache()?.dir().to_owned())];
        if self.cloud {
            let config = repository.config().remote(self.remote.as_deref())?;
            if config.kind != RemoteKind::Local {
                return Err(Error::invalid(format!(
                    "remote '{}' has no trash: what was collected there is gone",
                    config.name
                )));
            }
            dirs.push((format!("the remote {}", config.name), PathBuf::from(config.url)));
        }
        let mut amounts = Vec::new();
        for (name, dir) in &dirs {
            let there = trash::collections(dir)?;
            let amount = match there.last() {
                Some(last) if self.undo => last.amount,
                _ => there.iter().fold(Amount::default(), |sum, collection| Amount {
                    objects: sum.objects + collection.amount.objects,
                    bytes: sum.bytes + collection.amount.bytes,
                }),
            };
            amounts.push((name, amount));
        }
        let verb = if self.undo { "brought back to" } else { "deleted from the trash of" };
        let mut text = String::new();
        for (name, amount) in &amounts {
            let objects = ui::count(amount.objects, "object");
            let _ = writeln!(text, "{objects}, {}, {verb} {name}", ui::bytes(amount.bytes));
        }
        if self.purge && !self.force && amounts.iter().any(|(_, amount)| amount.objects > 0) {
            ctx.ui.note(format!("To be {text}"));
            if !ctx.ui.confirm("Are you sure you want to proceed?") {
                return Ok(Exit::No);
            }
        }
        for (_, dir) in &dirs {
            if self.undo {
                trash::undo(dir)?;
            } else {
                trash::purge(dir, Timestamp::from_millis(i64::MAX))?;
            }
        }
        let entries: Vec<_> = amounts
            .iter()
            .map(|(name, amount)| json!({ "place": name, "objects": amount.objects, "bytes": amount.bytes }))
            .collect();
        ctx.ui.show_as(&entries, || text)?;
        Ok(Exit::Done)
    }
}

/// Adds the data of registered model versions, when the repository belongs to the server. A server that
/// does not answer is a warning: the trash gives time to ask again.
fn read_models(ctx: &Context, needed: &mut Needed, repository: &Repository) {
    let config = repository.config();
    let on_server = |name: &String| config.remote(Some(name)).is_ok_and(|remote| ctx.is_on_server(&remote.url));
    if !config.remote_names().iter().any(on_server) {
        return;
    }
    let ask = async { Ok(ctx.client()?.get::<Page<Model>>("/models").await?) };
    match wait(ask) {
        Ok(models) => {
            for version in models.items.iter().flat_map(|model| &model.versions) {
                let by = format!("model {}/{}", version.model, version.version);
                let data = version.lineage.iter().flat_map(|lineage| &lineage.data);
                for oid in data.filter_map(|item| Oid::parse(item.hash.as_deref()?).ok()) {
                    needed.add(Some(&by), oid);
                }
            }
        }
        Err(error) => {
            ctx.ui.note(format!("warning: {} cannot say which data its models need: {}", ctx.server, error.message));
        }
    }
}

fn are(number: usize, noun: &str) -> String {
    format!("{} {}", ui::count(number as u64, noun), if number == 1 { "is" } else { "are" })
}

#[derive(Serialize)]
struct Report {
    places: Vec<PlaceReport>,
}

#[derive(Serialize)]
struct PlaceReport {
    place: String,
    objects: u64,
    bytes: u64,
    /// Objects go to a trash, or for good.
    trash: bool,
    /// The object ids.
    garbage: Vec<String>,
    /// What stays because somebody else needs it: objects and bytes.
    kept: BTreeMap<String, (u64, u64)>,
}

impl Report {
    fn of(places: &[Place]) -> Self {
        let report = |place: &Place| {
            let amount: Amount = place.plan.garbage.iter().collect();
            PlaceReport {
                place: place.name.clone(),
                objects: amount.objects,
                bytes: amount.bytes,
                trash: place.dir.is_some(),
                garbage: place.plan.garbage.iter().map(|object| object.oid.to_string()).collect(),
                kept: place.plan.kept.iter().map(|(by, kept)| (by.clone(), (kept.objects, kept.bytes))).collect(),
            }
        };
        Self { places: places.iter().map(report).collect() }
    }
}

impl Human for Report {
    fn human(&self) -> String {
        let mut text = String::new();
        for place in &self.places {
            if place.objects == 0 {
                let _ = writeln!(text, "No unused object in {}.", place.place);
            } else {
                let how = if place.trash { "to the trash" } else { "for good" };
                let amount = ui::count(place.objects, "unused object");
                let _ = writeln!(text, "{amount} in {}, {}, {how}:", place.place, ui::bytes(place.bytes));
                for oid in place.garbage.iter().take(SHOWN) {
                    let _ = writeln!(text, "  {oid}");
                }
                if place.garbage.len() > SHOWN {
                    let _ = writeln!(text, "  and {} more (all with --dry --json)", place.garbage.len() - SHOWN);
                }
            }
            for (by, (objects, bytes)) in &place.kept {
                let _ = writeln!(text, "{}, {}, kept for {by}.", ui::count(*objects, "object"), ui::bytes(*bytes));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_what_goes_where_and_what_is_kept_for_whom() {
        let report = Report {
            places: vec![
                PlaceReport {
                    place: "the cache".into(),
                    objects: 1,
                    bytes: 2000,
                    trash: true,
                    garbage: vec!["aa".into()],
                    kept: BTreeMap::from([("/other".to_owned(), (2, 10))]),
                },
                PlaceReport {
                    place: "the remote s".into(),
                    objects: 0,
                    bytes: 0,
                    trash: false,
                    garbage: Vec::new(),
                    kept: BTreeMap::new(),
                },
            ],
        };
        assert_eq!(
            report.human(),
            "1 unused object in the cache, 2.0 kB, to the trash:\n  aa\n2 objects, 10 B, kept for /other.\nNo unused object in the remote s.\n"
        );
    }
}
