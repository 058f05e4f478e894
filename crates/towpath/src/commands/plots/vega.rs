//! Vega-Lite specifications: templates with anchors, filled as DVC fills them (dvc-render 1.0,
//! `vega.py`), so that templates written for it work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::points::{Axes, Row};
use crate::error::Error;

/// The templates that come with the program, with the names of DVC's.
pub const TEMPLATES: [(&str, &str); 9] = [
    ("simple", include_str!("templates/simple.json")),
    ("linear", include_str!("templates/linear.json")),
    ("confusion", include_str!("templates/confusion.json")),
    ("confusion_normalized", include_str!("templates/confusion_normalized.json")),
    ("scatter", include_str!("templates/scatter.json")),
    ("scatter_jitter", include_str!("templates/scatter_jitter.json")),
    ("smooth", include_str!("templates/linear.json")),
    ("bar_horizontal_sorted", include_str!("templates/bar_horizontal_sorted.json")),
    ("bar_horizontal", include_str!("templates/bar_horizontal.json")),
];

/// Anchors that a template may leave out.
const OPTIONAL: [&str; 13] = [
    "color",
    "column",
    "group_by_x",
    "group_by_y",
    "group_by",
    "pivot_field",
    "plot_height",
    "plot_width",
    "row",
    "shape",
    "stroke_dash",
    "tooltip",
    "zoom_and_pan",
];

/// Anchors that `--split` leaves in the template.
const SPLIT: [&str; 11] = [
    "color",
    "data",
    "plot_height",
    "plot_width",
    "shape",
    "stroke_dash",
    "title",
    "tooltip",
    "x_label",
    "y_label",
    "zoom_and_pan",
];

pub const COLORS: [&str; 7] = ["#945dd6", "#13adc7", "#f46837", "#48bb78", "#4299e1", "#ed8936", "#f56565"];
const SHAPES: [&str; 4] = ["circle", "square", "triangle", "diamond"];
const DASHES: [[u8; 2]; 7] = [[1, 0], [8, 8], [8, 4], [4, 4], [4, 2], [2, 1], [1, 1]];

/// The text of a template: a file in the folder of templates or from here on, or one of ours.
pub fn template(name: &str, folder: &Path) -> Result<Json, Error> {
    let own = folder.join(name);
    let candidates = [own.clone(), own.with_extension("json"), Path::new(name).to_owned()];
    if let Some(path) = candidates.iter().find(|path| path.is_file()) {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let invalid = |why: String| Error::invalid(format!("{} is no template: {why}", path.display()));
        let content: Json = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        return if content.is_object() { Ok(content) } else { Err(invalid("it is no JSON object".into())) };
    }
    built_in(name).ok_or_else(|| {
        let names: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
        Error::not_found(format!("there is no template '{name}'")).hint(format!("templates: {}", names.join(", ")))
    })
}

pub fn built_in(name: &str) -> Option<Json> {
    let (_, text) = TEMPLATES.iter().find(|(known, _)| *known == name)?;
    // A test reads them all.
    serde_json::from_str(text).ok()
}

/// What a plot of points is made of.
pub struct Filling<'f> {
    pub rows: &'f [Row],
    pub axes: &'f Axes,
    pub title: &'f str,
    /// Those with points.
    pub revisions: &'f [String],
}

/// The specification, and what `--split` keeps beside it.
pub struct Filled {
    pub content: Json,
    pub anchors: Map<String, Json>,
}

impl Filling<'_> {
    /// # Errors
    /// No row has the field of an axis, or the template has no place for the data.
    pub fn fill(&self, template: Json, split: bool) -> Result<Filled, Error> {
        let axes = self.axes;
        for field in [Some(&axes.x), axes.y.as_ref()].into_iter().flatten() {
            if !self.rows.iter().any(|row| row.iter().any(|(name, _)| name == field)) {
                return Err(Error::invalid(format!("no point of plot '{}' has the field '{field}'", self.title)));
            }
        }
        let mut filler = Filler { content: template, split, anchors: Map::new() };
        let rows = self.fill_optional(&mut filler);
        if !filler.has("data") {
            return Err(Error::invalid(format!("the template of '{}' has no {}", self.title, anchor("data"))));
        }
        filler.fill("title", json!(self.title));
        filler.fill("x", json!(escaped(&axes.x)));
        if let Some(y) = &axes.y {
            filler.fill("y", json!(escaped(y)));
        }
        filler.fill("x_label", json!(axes.x_label));
        if let Some(label) = axes.y_label.as_ref().or(axes.y.as_ref()) {
            filler.fill("y_label", json!(label));
        }
        filler.fill("data", json!(rows));
        Ok(Filled { content: filler.content, anchors: filler.anchors })
    }

    /// The rows, with the fields that tell sources apart.
    fn fill_optional(&self, filler: &mut Filler) -> Vec<Json> {
        let present: Vec<&str> = OPTIONAL.into_iter().filter(|name| filler.has(name)).collect();
        let axes = self.axes;
        let varied = self.varied();
        let concatenated = varied.join("::");
        let mut group = vec!["rev".to_owned()];
        let mut tooltip: Vec<&str> = vec!["rev", &axes.x];
        tooltip.extend(axes.y.as_deref());
        if !varied.is_empty() {
            group.push(concatenated.clone());
            tooltip.push(&concatenated);
        }
        let with =
            |last: Option<&String>| group.iter().map(|field| json!(field)).chain([json!(last)]).collect::<Vec<_>>();
        let facet = json!({ "field": concatenated, "sort": [] });
        for name in &present {
            let value = match *name {
                "color" => mapping("rev", self.revisions, &COLORS.map(Json::from), false),
                "zoom_and_pan" => json!({ "name": "grid", "select": "interval", "bind": "scales" }),
                "plot_height" | "plot_width" => json!(300),
                "group_by" => json!(group),
                "group_by_x" => json!(with(Some(&axes.x))),
                "group_by_y" => json!(with(axes.y.as_ref())),
                "pivot_field" => {
                    let fields: Vec<String> =
                        ["rev"].iter().chain(&varied).map(|field| format!("datum.{field}")).collect();
                    json!(fields.join(" + '::' + "))
                }
                "tooltip" => tooltip.iter().map(|field| json!({ "field": field })).collect(),
                _ if varied.is_empty() => {
                    filler.replace(name, &json!({}));
                    continue;
                }
                "row" | "column" => facet.clone(),
                "shape" => mapping(&concatenated, &self.domain(&varied), &SHAPES.map(Json::from), true),
                _ => mapping(&concatenated, &self.domain(&varied), &DASHES.map(|dash| json!(dash)), true),
            };
            filler.fill(name, value);
        }
        let told_apart = !present.is_empty();
        self.rows.iter().map(|row| json_of(row, told_apart.then_some(varied.as_slice()))).collect()
    }

    /// Of file name and field, what differs between the sources of y.
    fn varied(&self) -> Vec<&'static str> {
        let sources = &self.axes.sources;
        if sources.len() < 2 {
            return Vec::new();
        }
        let files: BTreeSet<&String> = sources.iter().map(|(file, _)| file).collect();
        let fields: BTreeSet<&String> = sources.iter().map(|(_, field)| field).collect();
        [("filename", files.len()), ("field", fields.len())]
            .into_iter()
            .filter(|(_, n)| *n > 1)
            .map(|(k, _)| k)
            .collect()
    }

    fn domain(&self, varied: &[&str]) -> Vec<String> {
        let name = |(file, field): &(String, String)| match varied {
            ["filename"] => file.clone(),
            ["field"] => field.clone(),
            _ => format!("{file}::{field}"),
        };
        self.axes.sources.iter().map(name).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn mapping(field: &str, domain: &[String], range: &[Json], grey: bool) -> Json {
    let range: Vec<&Json> = range.iter().cycle().take(domain.len()).collect();
    let mut mapping = json!({ "field": field, "scale": { "domain": domain, "range": range } });
    if grey {
        mapping["legend"] = json!({ "symbolFillColor": "transparent", "symbolStrokeColor": "grey" });
    }
    mapping
}

/// Without the fields that tell no sources apart.
fn json_of(row: &Row, varied: Option<&[&str]>) -> Json {
    let mut object: Map<String, Json> = row.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
    if let Some(varied) = varied {
        if varied.len() == 2 {
            let part = |key: &str| object.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
            let both = format!("{}::{}", part("filename"), part("field"));
            object.insert("filename::field".to_owned(), Json::String(both));
        }
        for key in ["filename", "field"] {
            if varied.len() == 2 || !varied.contains(&key) {
                object.remove(key);
            }
        }
    }
    Json::Object(object)
}

fn escaped(field: &str) -> String {
    field.replace('.', "\\.").replace('[', "\\[").replace(']', "\\]")
}

pub fn anchor(name: &str) -> String {
    format!("<DVC_METRIC_{}>", name.to_uppercase())
}

struct Filler {
    content: Json,
    split: bool,
    anchors: Map<String, Json>,
}

impl Filler {
    fn has(&self, name: &str) -> bool {
        fn holds(value: &Json, anchor: &str) -> bool {
            match value {
                Json::String(text) => text == anchor,
                Json::Object(entries) => entries.values().any(|value| holds(value, anchor)),
                Json::Array(items) => items.iter().any(|value| holds(value, anchor)),
                _ => false,
            }
        }
        holds(&self.content, &anchor(name))
    }

    fn fill(&mut self, name: &str, value: Json) {
        if self.split && SPLIT.contains(&name) {
            self.anchors.insert(anchor(name), value);
        } else {
            self.replace(name, &value);
        }
    }

    fn replace(&mut self, name: &str, value: &Json) {
        replace(&mut self.content, &anchor(name), value);
    }
}

/// Also a text inside of a text.
fn replace(place: &mut Json, anchor: &str, value: &Json) {
    match place {
        Json::String(text) if text == anchor => *place = value.clone(),
        Json::String(text) => {
            if let Some(value) = value.as_str().filter(|_| text.contains(anchor)) {
                *text = text.replace(anchor, value);
            }
        }
        Json::Object(entries) => entries.values_mut().for_each(|place| replace(place, anchor, value)),
        Json::Array(items) => items.iter_mut().for_each(|place| replace(place, anchor, value)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_a_specification_with_the_anchors_of_its_name() {
        let common = ["data", "title", "x", "y", "x_label", "y_label", "plot_width", "plot_height"];
        for (name, more) in [
            ("simple", &["zoom_and_pan", "color", "stroke_dash", "tooltip"][..]),
            ("linear", &["zoom_and_pan", "color", "stroke_dash", "group_by", "pivot_field"]),
            ("smooth", &["zoom_and_pan", "color", "stroke_dash", "group_by", "pivot_field"]),
            ("scatter", &["zoom_and_pan", "color", "shape", "tooltip"]),
            ("scatter_jitter", &["color", "shape", "tooltip"]),
            ("confusion", &["row", "group_by_x", "group_by_y"]),
            ("confusion_normalized", &["row", "group_by_x"]),
            ("bar_horizontal", &["zoom_and_pan", "color", "column"]),
            ("bar_horizontal_sorted", &["zoom_and_pan", "color", "column"]),
        ] {
            let filler = Filler { content: built_in(name).unwrap(), split: false, anchors: Map::new() };
            let mut all: Vec<&str> = common.iter().chain(more).copied().collect();
            let mut found: Vec<&str> = OPTIONAL
                .into_iter()
                .chain(["data", "title", "x", "y", "x_label", "y_label"])
                .filter(|a| filler.has(a))
                .collect();
            all.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, all, "{name}");
        }
        assert!(TEMPLATES.iter().all(|(name, _)| built_in(name).is_some()));
    }

    #[test]
    fn anchors_are_replaced_whole_and_inside_of_texts() {
        let mut content = json!({"a": "<DVC_METRIC_X>", "b": ["datum.<DVC_METRIC_X> > 1"], "c": "<DVC_METRIC_DATA>"});
        replace(&mut content, "<DVC_METRIC_X>", &json!("lr"));
        replace(&mut content, "<DVC_METRIC_DATA>", &json!([1]));
        assert_eq!(content, json!({"a": "lr", "b": ["datum.lr > 1"], "c": [1]}));
    }
}
