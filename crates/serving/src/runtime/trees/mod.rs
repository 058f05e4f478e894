//! Gradient-boosted trees as XGBoost and LightGBM store them, run by kernels of our own over flat arrays.

mod lightgbm;
mod shap;
mod ubjson;
mod xgboost;

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{ExplainError, LoadError, Runtime};
use crate::tensor::{Data, Tensor};

/// Columns of a row and outputs of a model: more are taken for a damaged file.
const MAX_WIDTH: usize = 1 << 20;

/// Numbers of one explanation: 32 MiB.
const MAX_CONTRIBUTIONS: usize = 1 << 22;

/// What a folder may call its model, as the flavours of MLflow do.
const NAMES: [&str; 7] =
    ["model.ubj", "model.json", "model.xgb", "model.lgb", "model.txt", "xgboost.json", "lightgbm.txt"];

/// The model's file: `path` itself, or the one in the folder that has a name of these.
pub(super) fn find(path: &Path) -> Option<std::path::PathBuf> {
    if path.is_dir() {
        return NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    }
    let extension = path.extension()?.to_str()?;
    matches!(extension, "ubj" | "json" | "xgb" | "lgb" | "txt").then(|| path.to_owned())
}

/// Reads a model of either library; its first bytes tell which.
pub(super) fn load(path: &Path) -> Result<Box<dyn Runtime>, LoadError> {
    let named = path.display().to_string();
    let bytes = fs::read(path).map_err(|source| LoadError::Read { path: named.clone(), source })?;
    let unreadable = |format: &'static str| {
        let path = named.clone();
        move |detail: String| LoadError::Unreadable { path, format, detail }
    };
    if bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n") {
        let text = String::from_utf8(bytes).map_err(|_| unreadable("LightGBM")("it is not UTF-8".to_owned()))?;
        return Ok(Box::new(lightgbm::Model::read(&text).map_err(unreadable("LightGBM"))?));
    }
    let document = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => serde_json::from_slice(&bytes).or_else(|json| {
            // Both begin with a brace; in the binary form a length follows.
            if bytes.get(1).is_some_and(|byte| b"LilIU$#".contains(byte)) {
                ubjson::read(&bytes)
            } else {
                Err(json.to_string())
            }
        }),
        _ => Err("it begins neither as JSON, UBJSON nor as a text model of LightGBM".to_owned()),
    };
    let document = document.map_err(unreadable("tree"))?;
    Ok(Box::new(xgboost::Model::read(&document).map_err(unreadable("XGBoost"))?))
}

/// The contributions of all rows; `explain` adds those of one row to its outputs, `columns + 1` numbers for each.
fn contributions<T>(
    values: &[T],
    columns: usize,
    width: usize,
    until: Instant,
    explain: impl Fn(&[T], &mut [f64]) -> Result<(), ExplainError>,
) -> Result<Tensor, ExplainError> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let numbers = rows.saturating_mul(width).saturating_mul(columns + 1);
    if numbers > MAX_CONTRIBUTIONS {
        return Err(ExplainError::TooMuch { rows, numbers, most: MAX_CONTRIBUTIONS });
    }
    let mut contributions = vec![0.0; numbers];
    for (row, own) in values.chunks(columns.max(1)).zip(contributions.chunks_mut(width * (columns + 1))) {
        if Instant::now() > until {
            return Err(ExplainError::Deadline);
        }
        explain(row, own)?;
    }
    let shape = if width == 1 { vec![rows, columns + 1] } else { vec![rows, width, columns + 1] };
    Ok(Tensor { shape, data: Data::F64(contributions) })
}

/// In place: the exponentials of the scores of each row, scaled to sum to 1.
fn softmax<T>(scores: &mut [T], width: usize, exp: impl Fn(T) -> T)
where
    T: Copy + PartialOrd + std::ops::Sub<Output = T> + std::ops::Div<Output = T> + std::iter::Sum,
{
    for row in scores.chunks_mut(width) {
        let Some(&first) = row.first() else { continue };
        let most = row.iter().fold(first, |most, score| if *score > most { *score } else { most });
        for score in row.iter_mut() {
            *score = exp(*score - most);
        }
        let sum: T = row.iter().copied().sum();
        for score in row.iter_mut() {
            *score = *score / sum;
        }
    }
}
