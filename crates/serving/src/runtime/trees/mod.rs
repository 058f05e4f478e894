//! Gradient-boosted trees as XGBoost and LightGBM store them, run by kernels of our own over flat arrays.

mod lightgbm;
mod ubjson;
mod xgboost;

use std::fs;
use std::path::Path;

use super::{LoadError, Runtime};

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
