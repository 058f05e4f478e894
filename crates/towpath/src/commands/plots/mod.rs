mod collect;
mod page;
mod points;
mod vega;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use towpath_data::Repository;
use towpath_git::WorkTree;
use towpath_yaml::Value;

use self::collect::{Collected, Failure, Place, Source, collect, is_picture, merged, sources_of};
use self::points::{Axes, Row, points};
use self::vega::{Filled, Filling, TEMPLATES};
use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::view::{View, WORKSPACE};
use crate::workspace;

/// Where plots are written to.
const FOLDER: &str = "dvc_plots";

/// The plots that stages make
#[derive(clap::Subcommand, Debug)]
pub enum Plots {
    Show(Show),
    Diff(Diff),
    Templates(Templates),
}

/// Draw plots into a page
#[derive(clap::Args, Debug)]
pub struct Show {
    /// Files, folders or names of plots [default: all that pipelines declare]
    targets: Vec<String>,
    #[command(flatten)]
    looks: Looks,
}

/// Draw plots of several commits into one page
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// Commits or experiments [default: HEAD, if something changed, and the workspace]
    revisions: Vec<String>,
    /// Files, folders or names of plots [default: all that pipelines declare]
    #[arg(long, num_args = 0.., value_name = "PATH")]
    targets: Vec<String>,
    #[command(flatten)]
    looks: Looks,
}

/// List the templates, or print one
#[derive(clap::Args, Debug)]
pub struct Templates {
    name: Option<String>,
}

#[derive(clap::Args, Debug)]
struct Looks {
    /// A template: a name of `plots templates`, a file, or one in .dvc/plots
    #[arg(long, short, value_name = "TEMPLATE")]
    template: Option<String>,
    /// The field of the x axis
    #[arg(short, value_name = "FIELD")]
    x: Option<String>,
    /// The field of the y axis
    #[arg(short, value_name = "FIELD")]
    y: Option<String>,
    /// Tables have no line of names
    #[arg(long)]
    no_header: bool,
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    #[arg(long, value_name = "TEXT")]
    x_label: Option<String>,
    #[arg(long, value_name = "TEXT")]
    y_label: Option<String>,
    /// The folder to write to [default: dvc_plots]
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print the Vega-Lite specification of the one target
    #[arg(long, conflicts_with = "json")]
    show_vega: bool,
    /// With --json: leave data, titles and colours out of the specifications, beside them
    #[arg(long)]
    split: bool,
}

/// A plot of all revisions.
struct Plot {
    name: String,
    content: Content,
    /// By revision and file.
    source_failures: Vec<(String, String, Failure)>,
    /// By revision.
    failures: Vec<(String, Failure)>,
}

enum Content {
    Pictures(Vec<Picture>),
    Points(Chart),
}

struct Picture {
    revision: String,
    file: String,
    bytes: Vec<u8>,
}

struct Chart {
    rows: Vec<Row>,
    axes: Axes,
    title: String,
    template: String,
    revisions: Vec<String>,
}

impl Plots {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Show(command) => {
                let repository = workspace::repository(ctx)?;
                command.looks.draw(ctx, &repository, &[WORKSPACE.to_owned()], &command.targets)
            }
            Self::Diff(command) => command.run(ctx),
            Self::Templates(command) => command.run(ctx),
        }
    }
}

impl Diff {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let mut revisions = self.revisions;
        if revisions.len() < 2 {
            if revisions.is_empty() && !WorkTree::discover(repository.root())?.is_clean()? {
                revisions.push("HEAD".to_owned());
            }
            revisions.push(WORKSPACE.to_owned());
        }
        if revisions.iter().any(|revision| revision == WORKSPACE) {
            revisions.retain(|revision| revision != WORKSPACE);
            revisions.insert(0, WORKSPACE.to_owned());
        }
        self.looks.draw(ctx, &repository, &revisions, &self.targets)
    }
}

impl Templates {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Some(name) = self.name else {
            let names: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
            ctx.ui.show_as(&names, || names.join("\n"))?;
            return Ok(Exit::Done);
        };
        let content = vega::built_in(&name).ok_or_else(|| {
            Error::not_found(format!("there is no template '{name}'")).hint("list them: towpath plots templates")
        })?;
        ctx.ui.show_as(&content, || pretty(&content))?;
        Ok(Exit::Done)
    }
}

impl Looks {
    fn draw(
        &self,
        ctx: &Context,
        repository: &Repository,
        revisions: &[String],
        targets: &[String],
    ) -> Result<Exit, Error> {
        if self.show_vega && targets.len() != 1 {
            return Err(Error::invalid("--show-vega prints one plot: name one target"));
        }
        let from = canonical_dir()?;
        let place = Place { root: repository.root(), from: &from };
        let properties = self.properties();
        let mut collected = Vec::new();
        for revision in revisions {
            let view = View::of(repository, revision)?;
            collected.push(collect(&place, &view, revision, targets, &properties)?);
        }
        let plots = plots(&collected);
        for plot in &plots {
            for (revision, failure) in &plot.failures {
                ctx.ui.note(format!("{} of {revision} is not shown: {}", plot.name, failure.message));
            }
            for (revision, file, failure) in &plot.source_failures {
                ctx.ui.note(format!("{file} of {revision} is not shown: {}", failure.message));
            }
        }
        let configured = repository.config().get("plots", "out_dir").map(PathBuf::from);
        let out = self.out.clone().or(configured).unwrap_or_else(|| PathBuf::from(FOLDER));
        let templates = repository.dvc_dir().join("plots");
        if ctx.ui.is_json() {
            let out = from.join(out);
            let json = self.json(&plots, &out, &templates)?;
            ctx.ui.show_as(&json, String::new)?;
        } else if self.show_vega {
            let chart = plots.iter().find_map(|plot| match &plot.content {
                Content::Points(chart) if !chart.rows.is_empty() => Some(chart),
                _ => None,
            });
            if let Some(chart) = chart {
                ctx.ui.say(pretty(&chart.filled(&templates, false)?.content));
            }
        } else if plots.is_empty() {
            ctx.ui.note("there are no plots: nothing was drawn");
        } else {
            let path = from.join(out).join("index.html");
            let page = page::page(&plots, &templates)?;
            fs::create_dir_all(path.parent().unwrap_or(&from)).map_err(Error::io("create", &path))?;
            fs::write(&path, page).map_err(Error::io("write", &path))?;
            ctx.ui.say(format!("file://{}", path.display()));
        }
        Ok(Exit::Done)
    }

    /// Those of the command line.
    fn properties(&self) -> Value {
        let texts = [
            ("template", &self.template),
            ("x", &self.x),
            ("y", &self.y),
            ("title", &self.title),
            ("x_label", &self.x_label),
            ("y_label", &self.y_label),
        ];
        let mut entries: Vec<(String, Value)> = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), Value::string(text.as_ref()?))))
            .collect();
        if self.no_header {
            entries.push(("header".to_owned(), Value::Bool(false)));
        }
        Value::Map(entries)
    }

    /// As `dvc plots --json` prints it; pictures are written to `out`.
    fn json(&self, plots: &[Plot], out: &Path, templates: &Path) -> Result<Json, Error> {
        let mut data = Map::new();
        let mut errors = Vec::new();
        for plot in plots {
            let shown = match &plot.content {
                Content::Points(chart) if chart.rows.is_empty() => Vec::new(),
                Content::Points(chart) => {
                    let Filled { content, anchors } = chart.filled(templates, self.split)?;
                    let mut shown = json!({ "type": "vega", "revisions": chart.revisions, "content": content });
                    if self.split {
                        shown["anchor_definitions"] = Json::Object(anchors);
                    }
                    vec![shown]
                }
                Content::Pictures(pictures) => {
                    let written = pictures.iter().map(|picture| {
                        let path = picture.write(out)?;
                        Ok(json!({ "type": "image", "revisions": [picture.revision], "url": path }))
                    });
                    written.collect::<Result<_, Error>>()?
                }
            };
            data.insert(plot.name.clone(), Json::Array(shown));
            errors.extend(plot.source_failures.iter().map(|(revision, source, failure)| {
                json!({ "name": plot.name, "rev": revision, "source": source, "type": failure.kind, "msg": failure.message })
            }));
            errors.extend(plot.failures.iter().map(|(revision, failure)| {
                json!({ "name": plot.name, "rev": revision, "type": failure.kind, "msg": failure.message })
            }));
        }
        let mut json = Map::new();
        if !errors.is_empty() {
            json.insert("errors".to_owned(), Json::Array(errors));
        }
        if !data.is_empty() {
            json.insert("data".to_owned(), Json::Object(data));
        }
        Ok(Json::Object(json))
    }
}

impl Chart {
    fn filled(&self, templates: &Path, split: bool) -> Result<Filled, Error> {
        let filling = Filling { rows: &self.rows, axes: &self.axes, title: &self.title, revisions: &self.revisions };
        filling.fill(vega::template(&self.template, templates)?, split)
    }
}

impl Picture {
    fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(format!("{}_{}", self.revision, self.file).replace('/', "_"));
        fs::write(&path, &self.bytes).map_err(Error::io("write", &path))?;
        Ok(path)
    }
}

/// The plots of all revisions, each with what all of them have.
fn plots(collected: &[Collected]) -> Vec<Plot> {
    let mut names: Vec<&str> = Vec::new();
    for definition in collected.iter().flat_map(|revision| &revision.definitions) {
        if !names.contains(&definition.name.as_str()) {
            names.push(&definition.name);
        }
    }
    names.into_iter().map(|name| plot(name, collected)).collect()
}

fn plot(name: &str, collected: &[Collected]) -> Plot {
    let of_revisions: Vec<_> = collected
        .iter()
        .filter_map(|revision| Some((revision, revision.definitions.iter().find(|d| d.name == name)?)))
        .collect();
    // What the first revision says wins.
    let nothing = Value::Map(Vec::new());
    let properties = of_revisions.iter().rev().fold(nothing, |all, (_, one)| merged(&all, &one.properties));
    let text = |key: &str| match properties.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let mut chart = Chart {
        rows: Vec::new(),
        axes: Axes::default(),
        title: text("title").unwrap_or_else(|| name.to_owned()),
        template: text("template").unwrap_or_else(|| "linear".to_owned()),
        revisions: Vec::new(),
    };
    let mut pictures = Vec::new();
    let (mut source_failures, mut failures) = (Vec::new(), Vec::new());
    for (revision, definition) in &of_revisions {
        let mut data = BTreeMap::new();
        for file in sources_of(&definition.id, &definition.properties) {
            match revision.sources.get(&file) {
                Some(Ok(Source::Picture(bytes))) => {
                    pictures.push(Picture { revision: revision.revision.clone(), file, bytes: bytes.clone() });
                }
                Some(Ok(Source::Data(value))) => drop(data.insert(file, value)),
                Some(Err(failure)) => source_failures.push((revision.revision.clone(), file, failure.clone())),
                None => {}
            }
        }
        if is_picture(&definition.id) {
            continue;
        }
        match points(&definition.id, &revision.revision, &properties, &data) {
            Ok(None) => {}
            Ok(Some(points)) => {
                if chart.revisions.is_empty() {
                    chart.axes = points.axes;
                }
                chart.revisions.push(revision.revision.clone());
                chart.rows.extend(points.rows);
            }
            Err(failure) => failures.push((revision.revision.clone(), failure)),
        }
    }
    let is_pictures = of_revisions.iter().any(|(_, definition)| is_picture(&definition.id));
    let content = if is_pictures { Content::Pictures(pictures) } else { Content::Points(chart) };
    Plot { name: name.to_owned(), content, source_failures, failures }
}

fn pretty(json: &Json) -> String {
    format!("{json:#}")
}
