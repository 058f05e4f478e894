//! What each column added to the margin of a row, as answers carry it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::name_revision;
use crate::revision::LoadedRevision;
use crate::tensor::{Data, Tensor};

/// The output that carries it in the Open Inference Protocol.
pub(super) const CONTRIBUTIONS: &str = "contributions";

/// `{"explanations": [...]}`, one for each row.
#[derive(Serialize)]
struct Explanations<'a> {
    /// The names of the columns; left out when neither signature nor model has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<&'a str>,
    explanations: Vec<Explanation<'a>>,
}

#[derive(Serialize)]
struct Explanation<'a> {
    /// What each column added.
    contributions: Outputs<&'a [f64]>,
    /// The margin of an average row.
    base_value: Outputs<f64>,
}

/// A model of several outputs has a list where another one has one.
#[derive(Serialize)]
#[serde(untagged)]
enum Outputs<T> {
    One(T),
    Several(Vec<T>),
}

/// The answer of `:explain`. `contributions` are as [`crate::runtime::Runtime::explain`] gives them.
pub(super) fn respond(revision: &LoadedRevision, contributions: &Tensor) -> Response {
    let names = if revision.columns.is_empty() {
        revision.runtime.signature().column_names.iter().map(String::as_str).collect()
    } else {
        revision.columns.iter().map(|column| column.name.as_str()).collect()
    };
    let explanations = Explanations { columns: names, explanations: rows(contributions) };
    let mut response = Json(explanations).into_response();
    name_revision(revision, response.headers_mut());
    response
}

fn rows(Tensor { shape, data }: &Tensor) -> Vec<Explanation<'_>> {
    let (Data::F64(numbers), Some(width)) = (data, shape.last()) else { return Vec::new() };
    let several = shape.len() == 3;
    let outputs = if several { shape[1] } else { 1 };
    let explanation = |row| {
        let outputs = <[f64]>::chunks(row, *width).filter_map(<[f64]>::split_last);
        let (base, columns): (Vec<f64>, Vec<&[f64]>) = outputs.map(|(base, columns)| (*base, columns)).unzip();
        match (base.as_slice(), columns.as_slice()) {
            ([base], [columns]) if !several => {
                Explanation { contributions: Outputs::One(*columns), base_value: Outputs::One(*base) }
            }
            _ => Explanation { contributions: Outputs::Several(columns), base_value: Outputs::Several(base) },
        }
    };
    numbers.chunks((width * outputs).max(1)).map(explanation).collect()
}
