//! The page that plots are drawn into: one file, with its data and the script that draws them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::vega::{self, COLORS};
use super::{Chart, Content, Picture, Plot};
use crate::error::Error;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// # Errors
/// A template is missing, or does not fit its points.
pub fn page(plots: &[Plot], templates: &Path) -> Result<String, Error> {
    let drawn = plots.iter().map(|plot| {
        let content = match &plot.content {
            Content::Pictures(pictures) => json!({ "pictures": pictures.iter().map(picture).collect::<Vec<_>>() }),
            Content::Points(chart) if chart.rows.is_empty() => json!({}),
            Content::Points(chart) => json!({ "chart": drawing(chart, templates)? }),
        };
        let failures = plot.failures.iter().map(|(revision, failure)| format!("{revision}: {}", failure.message));
        let of_sources = plot
            .source_failures
            .iter()
            .map(|(revision, file, failure)| format!("{revision}: {file}: {}", failure.message));
        let mut drawn = content;
        drawn["name"] = json!(plot.name);
        drawn["failures"] = json!(failures.chain(of_sources).collect::<Vec<_>>());
        Ok(drawn)
    });
    let data = json!(drawn.collect::<Result<Vec<Json>, Error>>()?).to_string();
    // Nothing inside may end the element.
    let data = data.replace('<', "\\u003c");
    Ok(PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT).replace("/*data*/", &data))
}

fn picture(picture: &Picture) -> Json {
    let kind = match picture.file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        _ => "image/jpeg",
    };
    json!({ "revision": picture.revision, "src": format!("data:{kind};base64,{}", STANDARD.encode(&picture.bytes)) })
}

/// What the script draws: points, axes, and the mark of the template.
fn drawing(chart: &Chart, templates: &Path) -> Result<Json, Error> {
    let template = vega::template(&chart.template, templates)?;
    let axes = &chart.axes;
    let sorted = template.pointer("/encoding/y/sort").is_some_and(|sort| sort == "-x");
    let rows = chart.rows.iter().map(|row| {
        let entries = row.iter().map(|(name, value)| (name.clone(), value.to_json()));
        Json::Object(entries.collect())
    });
    Ok(json!({
        "mark": mark(&template),
        "sorted": sorted,
        "shares": chart.template == "confusion_normalized",
        "title": chart.title,
        "x": axes.x,
        "y": axes.y,
        "xLabel": axes.x_label,
        "yLabel": axes.y_label.as_ref().or(axes.y.as_ref()),
        "many": axes.sources.len() > 1,
        "revisions": chart.revisions,
        "colors": COLORS,
        "rows": rows.collect::<Vec<_>>(),
    }))
}

/// The first mark of a specification, as one of those that the script draws.
fn mark(template: &Json) -> &'static str {
    fn first(value: &Json) -> Option<&str> {
        if let Some(mark) = value.get("mark") {
            return mark.as_str().or_else(|| mark.get("type")?.as_str());
        }
        let layers = value.get("layer").and_then(Json::as_array).into_iter().flatten();
        value.get("spec").into_iter().chain(layers).find_map(first)
    }
    match first(template) {
        Some("rect") => "matrix",
        Some("bar") => "bar",
        Some("point" | "circle" | "square" | "tick") => "point",
        _ => "line",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_template_is_drawn_with_its_own_mark() {
        for (name, _) in vega::TEMPLATES {
            let expected = match name {
                "confusion" | "confusion_normalized" => "matrix",
                "scatter" | "scatter_jitter" => "point",
                "bar_horizontal" | "bar_horizontal_sorted" => "bar",
                _ => "line",
            };
            assert_eq!(mark(&vega::built_in(name).unwrap()), expected, "{name}");
        }
    }
}
