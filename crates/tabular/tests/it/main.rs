//! Tables that pandas wrote, and pandas as the judge of their statistics.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use towpath_tabular::{Options, Table, TableDiff, diff, markdown};

/// Runs a script with pandas in a folder; what it printed.
fn pandas(folder: &Path, script: &str) -> String {
    let python = towpath_testkit::python::program("python").unwrap();
    let output = Command::new(python).args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn compare(folder: &Path, old: &str, new: &str, key: &[&str]) -> TableDiff {
    let open = |name: &str| Table::open(&folder.join(name), name).unwrap();
    let key = key.iter().map(ToString::to_string).collect();
    diff(open(old), open(new), &Options { key, ..Options::default() }).unwrap()
}

/// Two versions of 5,000 rows, as CSV and as Parquet with every codec, and pandas' statistics.
const TABLES: &str = "
import json, numpy as np, pandas as pd
rng = np.random.default_rng(1)
n = 5000
old = pd.DataFrame({'id': np.arange(n), 'x': rng.normal(size=n).round(6), 'name': rng.choice(['a|b', 'ü', 'c'], n),
                    'flag': rng.random(n) < 0.5, 'gone': 1})
old.loc[7, 'x'] = np.nan
new = old.drop(columns='gone').assign(fresh='y')
new.loc[10, 'x'] = 99.5
new.loc[11, 'name'] = 'changed'
new = pd.concat([new.drop(index=[3, 4]), pd.DataFrame({'id': [n], 'x': [0.5], 'name': ['new'], 'flag': [True], 'fresh': ['y']})])
for name, table in [('old', old), ('new', new)]:
    table.to_csv(f'{name}.csv', index=False)
    for codec in ['snappy', 'gzip', 'zstd', 'lz4', 'none']:
        table.to_parquet(f'{name}-{codec}.parquet', index=False, compression=None if codec == 'none' else codec)
x = new['x']
print(json.dumps({'count': int(x.count()), 'nulls': int(x.isna().sum()), 'mean': x.mean(), 'min': x.min(), 'max': x.max(),
                  'quantiles': list(x.quantile([.25, .5, .75])), 'distinct': int(x.nunique())}))
";

#[test]
fn what_pandas_changed_is_found_by_key_in_csv_and_parquet_alike() {
    let dir = tempfile::tempdir().unwrap();
    let said: Json = serde_json::from_str(&pandas(dir.path(), TABLES)).unwrap();
    let by_csv = compare(dir.path(), "old.csv", "new.csv", &["id"]);
    assert_eq!(
        (by_csv.columns_added.as_slice(), by_csv.columns_removed.as_slice()),
        (&["fresh".into()][..], &["gone".into()][..])
    );
    let rows = by_csv.rows;
    assert_eq!((rows.old, rows.new, rows.added, rows.removed, rows.changed), (5000, 4999, 1, 2, 2));
    let mut cells: Vec<String> =
        by_csv.changed.iter().flat_map(|row| &row.cells).map(|c| format!("{} {}", c.column, c.new)).collect();
    cells.sort();
    assert_eq!(cells, ["name changed", "x 99.5"]);
    let x = by_csv.statistics.iter().find(|column| column.name == "x").unwrap().new.clone().unwrap();
    assert_eq!((Json::from(x.count), Json::from(x.nulls)), (said["count"].clone(), said["nulls"].clone()));
    let near = |ours: f64, theirs: &Json| assert!((ours - theirs.as_f64().unwrap()).abs() < 1e-9, "{ours} {theirs}");
    near(x.mean.unwrap(), &said["mean"]);
    near(x.min.unwrap().number().unwrap(), &said["min"]);
    near(x.max.unwrap().number().unwrap(), &said["max"]);
    for (i, quantile) in x.quantiles.unwrap().into_iter().enumerate() {
        near(quantile, &said["quantiles"][i]);
    }
    let off = x.distinct as f64 / said["distinct"].as_f64().unwrap() - 1.0;
    assert!(off.abs() < 0.1, "{} distinct", x.distinct);
    for codec in ["snappy", "gzip", "zstd", "lz4", "none"] {
        let by_parquet = compare(dir.path(), &format!("old-{codec}.parquet"), &format!("new-{codec}.parquet"), &["id"]);
        assert_eq!(by_parquet.rows, by_csv.rows, "{codec}");
        let x = by_parquet.statistics.iter().find(|column| column.name == "x").unwrap().new.clone().unwrap();
        near(x.mean.unwrap(), &said["mean"]);
    }
    // The same table in two formats differs in nothing but how booleans are written.
    let formats = compare(dir.path(), "old.csv", "old-snappy.parquet", &["id"]);
    assert!(formats.changed.iter().all(|row| row.cells.iter().all(|cell| cell.column == "flag")));
}

#[test]
fn without_a_key_rows_are_added_and_removed_and_markdown_shows_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("old.csv"), "id,name\n1,a\n1,a\n2,<b>\n").unwrap();
    std::fs::write(dir.path().join("new.csv"), "name,id\na,1\nc|d,3\n").unwrap();
    let found = compare(dir.path(), "old.csv", "new.csv", &[]);
    assert_eq!((found.rows.added, found.rows.removed, found.rows.unchanged, found.reordered), (1, 2, 1, true));
    let text = markdown::render(&found, "old.csv", "new.csv");
    assert!(text.contains("3 → 2 rows: 1 added, 2 removed"), "{text}");
    assert!(text.contains("| | c\\|d | 3 |") && text.contains("&lt;b>"), "{text}");
    assert!(compare(dir.path(), "old.csv", "old.csv", &[]).is_empty());
}

#[test]
fn what_is_no_table_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let read = Table::open(&path, name).and_then(|table| table.collect::<Result<Vec<_>, _>>());
        read.unwrap_err().to_string()
    };
    assert!(refused("a.txt", "x").contains("neither CSV"));
    assert!(refused("a.csv", "a,b\n1\n").contains("line 2"));
    assert!(refused("b.csv", "a,a\n1,2\n").contains("'a' is there twice"));
    assert!(refused("a.parquet", "PAR1 and nothing else PAR1").contains("a.parquet"));
    std::fs::write(dir.path().join("k.csv"), "a\n1\n").unwrap();
    let open = || Table::open(&dir.path().join("k.csv"), "k.csv").unwrap();
    let error = diff(open(), open(), &Options { key: vec!["id".into()], ..Options::default() }).unwrap_err();
    assert!(error.to_string().contains("no column 'id'; there are: a"), "{error}");
}
