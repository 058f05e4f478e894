//! The numbers in a stage's metric files.

use std::collections::BTreeMap;

use towpath_yaml::Value;

/// Numbers by dotted name (`test.accuracy`, `folds.0`), from the content of a `.json`, `.yaml` or
/// `.yml` file. Texts, truth values and what is not finite are no metrics.
pub fn read(file: &str, text: &str) -> Result<BTreeMap<String, f64>, towpath_plan::Error> {
    let mut metrics = BTreeMap::new();
    for (name, value) in towpath_plan::params::read(file, text, None)? {
        flatten(name, &value, &mut metrics);
    }
    Ok(metrics)
}

fn flatten(name: String, value: &Value, metrics: &mut BTreeMap<String, f64>) {
    match value {
        Value::Int(number) => drop(metrics.insert(name, *number as f64)),
        Value::Float(number) if number.is_finite() => drop(metrics.insert(name, *number)),
        Value::Map(entries) => {
            for (key, value) in entries {
                flatten(format!("{name}.{key}"), value, metrics);
            }
        }
        Value::Seq(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten(format!("{name}.{index}"), value, metrics);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_metrics_file_are_named_by_their_place() {
        let text = r#"{"accuracy": 0.96, "test": {"rows": 360, "note": "x", "ok": true}, "folds": [0.9, 1]}"#;
        let metrics = read("metrics.json", text).unwrap();
        let seen: Vec<_> = metrics.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        assert_eq!(seen, [("accuracy", 0.96), ("folds.0", 0.9), ("folds.1", 1.0), ("test.rows", 360.0)]);
        assert_eq!(read("m.yaml", "loss: .nan\nauc: 1\n").unwrap().len(), 1);
        assert!(read("metrics.json", "{").is_err());
    }
}
