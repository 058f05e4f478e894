//! Files of models that were cut off or changed on the way: refused with a reason, or run; nothing else happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use towpath_serving::runtime;

/// The same numbers each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// Loads `load` with `file` holding each of many damaged forms of its bytes. What still loads is run once.
fn damage(file: &Path, load: &Path, cuts_are_refused: bool) {
    let whole = std::fs::read(file).unwrap();
    let mut dice = Dice(7);
    let cuts = (0..60).map(|part| whole[..whole.len() * part / 60].to_vec());
    let flipped = (0..300).map(|_| {
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        bytes
    });
    let started = Instant::now();
    for (number, bytes) in cuts.chain(flipped).enumerate() {
        std::fs::write(file, &bytes).unwrap();
        let what = format!("{} in form {number}", file.display());
        let loaded = catch_unwind(AssertUnwindSafe(|| runtime::load(load)));
        match loaded.unwrap_or_else(|_| panic!("{what} made the loader panic")) {
            Ok(model) => {
                assert!(number >= 60 || !cuts_are_refused, "{what} was taken");
                let elements = |spec: &towpath_serving::tensor::TensorSpec| {
                    spec.shape.iter().map(|length| length.unwrap_or(1)).fold(1, usize::saturating_mul)
                };
                if model.inputs().iter().all(|spec| elements(spec) < 1 << 20) {
                    let ran = catch_unwind(AssertUnwindSafe(|| model.run(model.warm_up()).is_ok()));
                    assert!(ran.is_ok(), "{what} panicked when it ran");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty(), "{what}"),
        }
    }
    assert!(started.elapsed() < Duration::from_mins(1), "{}: {:?}", file.display(), started.elapsed());
    std::fs::write(file, whole).unwrap();
}

fn testdata(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/onnx/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn a_graph_that_is_cut_or_changed_is_refused_or_run() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["digits_logistic_f32.onnx", "bagging.onnx"] {
        let file = folder.path().join(name);
        std::fs::write(&file, testdata(name)).unwrap();
        damage(&file, &file, true);
    }
}

#[test]
fn trees_that_are_cut_or_changed_are_refused_or_run() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["xgboost.json", "xgboost.ubj", "lightgbm.txt"] {
        let file = folder.path().join(name);
        std::fs::copy(format!("{}/testdata/trees/{name}", env!("CARGO_MANIFEST_DIR")), &file).unwrap();
        assert!(runtime::load(&file).is_ok(), "{name}");
        // What follows the trees of LightGBM is not read.
        damage(&file, &file, name != "lightgbm.txt");
    }
    let file = folder.path().join("lightgbm.txt");
    let text = std::fs::read_to_string(&file).unwrap();
    let end = text.find("end of trees").unwrap();
    for part in 0..60 {
        std::fs::write(&file, &text[..end * part / 60]).unwrap();
        let error = runtime::load(&file).map(drop).unwrap_err().to_string();
        assert!(error.contains("lightgbm.txt"), "{part}/60: {error}");
    }
}

#[test]
fn a_description_of_mlflow_that_is_cut_or_changed_is_refused_or_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), testdata("digits_logistic_f32.onnx")).unwrap();
    let description = folder.path().join("MLmodel");
    let text = "flavors:\n  onnx:\n    data: model.onnx\n    onnx_version: 1.20.0\n  python_function:\n    \
                loader_module: mlflow.onnx\nmodel_uuid: 0\nsignature:\n  inputs: '[{\"type\": \"double\", \"name\": \
                \"a\"}]'\n";
    std::fs::write(&description, text).unwrap();
    assert!(runtime::load(folder.path()).is_ok());
    damage(&description, folder.path(), false);
}

#[test]
fn a_version_of_a_triton_repository_that_is_cut_or_changed_is_refused_or_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("3")).unwrap();
    let file = folder.path().join("3/model.onnx");
    std::fs::write(&file, testdata("digits_logistic_f32.onnx")).unwrap();
    damage(&file, folder.path(), true);
}

#[test]
fn a_configuration_of_triton_that_is_cut_or_changed_is_refused_or_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("3")).unwrap();
    std::fs::write(folder.path().join("3/model.onnx"), testdata("digits_logistic_f32.onnx")).unwrap();
    let config = folder.path().join("config.pbtxt");
    let text = "platform: \"onnxruntime_onnx\"\nmax_batch_size: 8\ninput [ { name: \"X\" data_type: TYPE_FP32 dims: [ \
                64 ] } ]\nversion_policy { specific { versions: [ 3 ] } }\ndefault_model_filename: \"model.onnx\"\n";
    std::fs::write(&config, text).unwrap();
    assert!(runtime::load(folder.path()).is_ok());
    damage(&config, folder.path(), false);
}

#[test]
fn widths_that_would_take_all_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.txt");
    for last in ["18446744073709551615", "99999999999"] {
        let text =
            format!("tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx={last}\nobjective=regression\n");
        std::fs::write(&file, text).unwrap();
        let error = runtime::load(&file).map(drop).unwrap_err().to_string();
        assert!(error.contains("max_feature_idx") && error.contains("columns are taken"), "{error}");
    }
}
