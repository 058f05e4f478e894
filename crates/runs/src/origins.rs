//! Where the changes that made a stage run come from: a commit, another stage, or whoever started the run.

use towpath_api::projects::Commit;
use towpath_api::runs::{Change, ChangeOrigin, Compared, Run, StageOrigins, StageRun};
use towpath_git::Repository;
use towpath_store::Tx;

use crate::service::Runs;
use crate::{Error, rows, triggers};

/// Runs further back are not looked at.
const BACK: i64 = 50;

impl Runs {
    /// In the order of the stage's changes.
    pub async fn origins(&self, project: &str, number: i64, stage: &str) -> Result<StageOrigins, Error> {
        let (name, wanted) = (project.to_owned(), stage.to_owned());
        let (run, compared) = self
            .store
            .read(move |tx| {
                let run = rows::get(tx, &name, number)?;
                let row = find(&run, &wanted)?;
                let compared = compared_with(tx, &name, number, row)?;
                Ok::<_, Error>((run, compared))
            })
            .await?;
        let row = find(&run, stage)?.clone();
        let path = self.config.repository(project);
        triggers::blocking(move || {
            let repository = Repository::open(&path)?;
            let origins = row.changes.iter().map(|change| origin(&repository, &run, &row, change, compared.as_ref()));
            let origins = origins.collect::<Result<_, _>>()?;
            Ok(StageOrigins { compared, origins })
        })
        .await
    }
}

fn find<'r>(run: &'r Run, stage: &str) -> Result<&'r StageRun, Error> {
    let none =
        || Error::NoStage { project: run.summary.project.clone(), number: run.summary.number, stage: stage.to_owned() };
    run.stages.iter().find(|row| row.name == stage).ok_or_else(none)
}

/// The newest earlier run in which the stage had what changed since.
fn compared_with(tx: &mut Tx<'_>, project: &str, number: i64, row: &StageRun) -> Result<Option<Compared>, Error> {
    for earlier in earlier_of_stage(tx, project, number, &row.name, BACK)? {
        if row.changes.iter().all(|change| had(&earlier.stage, change)) {
            return Ok(Some(Compared { run: earlier.run, commit: earlier.commit }));
        }
    }
    Ok(None)
}

/// A stage in an earlier run.
struct Earlier {
    run: i64,
    commit: Commit,
    stage: StageRun,
}

/// The stage in the newest runs before `number` in which it came to a result.
fn earlier_of_stage(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    stage: &str,
    limit: i64,
) -> Result<Vec<Earlier>, Error> {
    tx.list(
        "select s.number, s.detail, r.commit_id, r.commit_subject, r.author, r.author_email, r.commit_at \
         from stage_runs s join pipeline_runs r on r.project = s.project and r.number = s.number \
         where s.project = $1 and s.number < $2 and s.name = $3 and s.status in ('succeeded', 'reused') \
         order by s.number desc limit $4",
        &[&project, &number, &stage, &limit],
        |row| Ok(Earlier { run: row.int("number")?, commit: rows::commit(row)?, stage: row.json("detail")? }),
    )
}

/// Whether an earlier run of the stage had the old side of a change. Of an environment only the run knows.
fn had(earlier: &StageRun, change: &Change) -> bool {
    let items = |items: &[towpath_api::runs::Item]| {
        items.iter().find(|item| item.path == change.name).and_then(|item| item.hash.clone()) == change.old
    };
    match change.kind.as_str() {
        "dependency" => items(&earlier.inputs),
        "output" => items(&earlier.outputs),
        "command" => change.old.as_ref().is_none_or(|old| *old == earlier.command),
        "param" => {
            let key = change.name.split_once(':').map_or(change.name.as_str(), |(_, key)| key);
            let value = earlier.params.get(&change.name).or_else(|| earlier.params.get(key));
            value.map(shown) == change.old
        }
        _ => true,
    }
}

/// As decisions write values of parameters.
fn shown(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn origin(
    repository: &Repository,
    run: &Run,
    row: &StageRun,
    change: &Change,
    compared: Option<&Compared>,
) -> Result<ChangeOrigin, towpath_git::Error> {
    let files = match change.kind.as_str() {
        "dependency" => {
            let makes = |stage: &&StageRun| {
                stage.name != row.name
                    && stage.outputs.iter().any(|out| std::path::Path::new(&change.name).starts_with(&out.path))
            };
            if let Some(stage) = run.stages.iter().find(makes) {
                return Ok(ChangeOrigin::Stage { stage: stage.name.clone() });
            }
            vec![change.name.clone(), format!("{}.dvc", change.name)]
        }
        "param" => {
            let (file, key) = change.name.split_once(':').unwrap_or(("params.yaml", &change.name));
            if run.summary.params.contains_key(key) || run.summary.params.contains_key(&change.name) {
                return Ok(ChangeOrigin::Run);
            }
            vec![file.to_owned()]
        }
        "command" => vec![row.name.rsplit_once(':').map_or("dvc.yaml", |(file, _)| file).to_owned()],
        "environment" => run.environment.iter().map(|environment| environment.file.clone()).collect(),
        _ => return Ok(ChangeOrigin::Unknown),
    };
    if files.is_empty() {
        return Ok(ChangeOrigin::Unknown);
    }
    let until = run.summary.commit.id.parse()?;
    let since = compared.map(|compared| compared.commit.id.parse()).transpose()?;
    let found = match repository.last_change(since.as_ref(), &until, &files) {
        // The run went back to an older commit, or the one it is compared with is no longer in the repository.
        Ok(None) | Err(_) if since.is_some() => repository.last_change(None, &until, &files)?,
        found => found?,
    };
    Ok(found.map_or(ChangeOrigin::Unknown, |info| ChangeOrigin::Commit { commit: triggers::commit(info) }))
}
