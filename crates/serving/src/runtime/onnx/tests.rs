//! Whole models against ONNX Runtime: `testdata/onnx` holds exported models, inputs and what ONNX
//! Runtime answered (`make.py` there writes them), and every kind of damage to such files.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::operators::SUPPORTED;
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, data_type,
};
use super::*;
use crate::tensor::{Data, ElementType, TensorSpec};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/onnx")
}

/// Names of all fixtures, sorted.
fn fixtures() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.onnx"))).unwrap()
}

/// JSON has no NaN and no infinities: fixtures hold them as text.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some(text) => text.parse().unwrap(),
        None => value.as_f64().unwrap(),
    }
}

fn tensor(value: &Value) -> Tensor {
    let elements = value["data"].as_array().unwrap();
    let shape = value["shape"].as_array().unwrap().iter();
    let data = match value["type"].as_str().unwrap() {
        "f32" => Data::F32(elements.iter().map(|value| number(value) as f32).collect()),
        "f64" => Data::F64(elements.iter().map(number).collect()),
        "i64" | "i32" => Data::I64(elements.iter().map(|value| value.as_i64().unwrap()).collect()),
        "bool" => Data::Bool(elements.iter().map(|value| value.as_bool().unwrap()).collect()),
        _ => Data::Text(elements.iter().map(|value| value.as_str().unwrap().to_owned()).collect()),
    };
    Tensor { shape: shape.map(|dim| usize::try_from(dim.as_u64().unwrap()).unwrap()).collect(), data }
}

/// Inputs, and the outputs by ONNX Runtime, in the model's order.
fn case(name: &str) -> (Vec<Tensor>, Vec<Tensor>) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let case: Value = serde_json::from_str(&text).unwrap();
    let list = |key: &str| case[key].as_array().unwrap().iter().map(tensor).collect();
    (list("inputs"), list("outputs"))
}

/// The first row that differs by more than 1e-5 (absolute below 1, relative above), if any.
fn difference(actual: &Tensor, expected: &Tensor) -> Option<String> {
    #[expect(clippy::float_cmp, reason = "infinities are equal")]
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    if actual.shape != expected.shape {
        return Some(format!("shape {:?}, expected {:?}", actual.shape, expected.shape));
    }
    let far = |pair: (f64, f64)| (!close(pair.0, pair.1)).then_some(pair);
    let worst = match (&actual.data, &expected.data) {
        (Data::F32(a), Data::F32(b)) => {
            a.iter().zip(b).enumerate().find_map(|(i, (&a, &b))| Some((i, far((a.into(), b.into()))?)))
        }
        (Data::F64(a), Data::F64(b)) => a.iter().zip(b).enumerate().find_map(|(i, (&a, &b))| Some((i, far((a, b))?))),
        (a, b) => return (a != b).then(|| format!("{a:?}, expected {b:?}")),
    };
    worst.map(|(index, (a, b))| format!("element {index} is {a}, expected {b}"))
}

#[test]
fn every_fixture_answers_as_onnx_runtime_does() {
    let mut failures = Vec::new();
    for name in fixtures() {
        let (inputs, expected) = case(&name);
        let model = match from_bytes(&bytes(&name), &name) {
            Ok(model) => model,
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        let actual = match model.run(inputs) {
            Ok(actual) => actual,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        for ((spec, actual), expected) in model.outputs().iter().zip(&actual).zip(&expected) {
            if let Some(difference) = difference(actual, expected) {
                failures.push(format!("{name}, output {}: {difference}", spec.name));
            }
            let declared = match spec.element_type {
                ElementType::I32 => ElementType::I64,
                other => other,
            };
            if declared != actual.data.element_type() {
                failures.push(format!("{name}: {spec:?} announced, {:?}", actual.data.element_type()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_row_alone_answers_as_in_its_batch() {
    for name in ["digits_logistic_f32", "forest_f32", "mlp", "boosting_binary"] {
        let model = from_bytes(&bytes(name), name).unwrap();
        let (inputs, expected) = case(name);
        let Data::F32(values) = &inputs[0].data else { panic!("{name} takes floats") };
        let columns = inputs[0].shape[1];
        let row = Tensor { shape: vec![1, columns], data: Data::F32(values[..columns].to_vec()) };
        let alone = model.run(vec![row]).unwrap();
        let (Data::I64(one), Data::I64(all)) = (&alone[0].data, &expected[0].data) else {
            panic!("{name} answers integer labels")
        };
        assert_eq!(one[..], all[..1], "{name}");
    }
}

#[test]
fn specs_say_what_the_digits_model_takes_and_gives() {
    let model = from_bytes(&bytes("digits_logistic_f32"), "digits").unwrap();
    let spec = |name: &str, element_type, shape: &[Option<usize>]| TensorSpec {
        name: name.into(),
        element_type,
        shape: shape.to_vec(),
    };
    assert_eq!(model.inputs(), [spec("X", ElementType::F32, &[None, Some(64)])]);
    assert_eq!(
        model.outputs(),
        [
            spec("output_label", ElementType::I64, &[None]),
            spec("output_probability", ElementType::F32, &[None, Some(10)]),
        ]
    );
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].map(String::from);
    assert_eq!(model.signature().class_labels.as_deref(), Some(&digits[..]));
}

#[test]
fn an_empty_batch_gets_an_empty_answer() {
    for name in ["digits_logistic_f32", "forest_f32", "mlp"] {
        let model = from_bytes(&bytes(name), name).unwrap();
        let empty = Tensor { shape: vec![0, 64], data: Data::F32(Vec::new()) };
        let answers = model.run(vec![empty]).unwrap();
        assert_eq!(answers[1].shape, [0, 10], "{name}");
    }
}

#[test]
fn a_row_of_the_wrong_width_is_an_error_that_names_the_node() {
    let model = from_bytes(&bytes("digits_logistic_f32"), "digits").unwrap();
    let short = Tensor { shape: vec![1, 63], data: Data::F32(vec![0.0; 63]) };
    let error = model.run(vec![short]).unwrap_err().to_string();
    assert!(error.contains("Scaler of ai.onnx.ml"), "{error}");
}

// Graphs that no exporter writes.

fn input(name: &str, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim = dims.iter().map(|&dim_value| super::proto::DimensionProto { dim_value }).collect();
    let tensor_type = TensorTypeProto { elem_type: data_type::FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: outputs.iter().map(ToString::to_string).collect(),
        ..NodeProto::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), kind: 7, ints: ints.to_vec(), ..AttributeProto::default() }
}

fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    let floats = floats.to_vec();
    AttributeProto { name: name.into(), kind: 6, floats, ..AttributeProto::default() }
}

fn texts(name: &str, texts: &[&str]) -> AttributeProto {
    let strings = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    AttributeProto { name: name.into(), kind: 8, strings, ..AttributeProto::default() }
}

/// A graph from `x` [any, 2] to `y`.
fn load_graph(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> Result<Box<dyn Runtime>, String> {
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![input("x", &[None, Some(2)])],
        output: vec![ValueInfoProto { name: "y".into(), r#type: None }],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset("", 18), opset("ai.onnx.ml", 3)],
    };
    from_bytes(&model.encode_to_vec(), "m.onnx").map_err(|error| error.to_string())
}

fn refusal(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> String {
    load_graph(nodes, initializer).err().expect("the graph is refused")
}

#[test]
fn an_operator_that_is_missing_is_named_with_its_node() {
    let mut lstm = node("LSTM", &["x"], &["y"]);
    lstm.name = "recurrent".into();
    let error = refusal(vec![lstm], vec![]);
    assert!(error.contains("operator LSTM (ai.onnx, opset 18) of node 'recurrent' is not supported"), "{error}");
}

#[test]
fn an_attribute_that_is_not_understood_is_named() {
    let mut softmax = node("Softmax", &["x"], &["y"]);
    softmax.attribute.push(ints("temperature", &[2]));
    let error = refusal(vec![softmax], vec![]);
    assert!(error.contains("attribute 'temperature' is not supported; Softmax takes: axis"), "{error}");
}

#[test]
fn a_cyclic_graph_is_refused() {
    let nodes = vec![node("Add", &["x", "b"], &["a"]), node("Relu", &["a"], &["b"]), node("Relu", &["b"], &["y"])];
    let error = refusal(nodes, vec![]);
    assert!(error.contains("input 'b'") && error.contains("or a cycle"), "{error}");
}

#[test]
fn a_missing_initialiser_is_named() {
    let error = refusal(vec![node("MatMul", &["x", "weights"], &["y"])], vec![]);
    assert!(error.contains("input 'weights' is neither"), "{error}");
}

#[test]
fn two_producers_of_one_value_are_refused() {
    let nodes = vec![node("Relu", &["x"], &["y"]), node("Exp", &["x"], &["y"])];
    assert!(refusal(nodes, vec![]).contains("value 'y' is produced twice"));
}

#[test]
fn a_tensor_that_claims_a_billion_elements_is_refused() {
    let weights = TensorProto {
        name: "weights".into(),
        dims: vec![1_000_000_000],
        data_type: data_type::FLOAT,
        ..TensorProto::default()
    };
    let error = refusal(vec![node("Mul", &["x", "weights"], &["y"])], vec![weights]);
    assert!(error.contains("initialiser 'weights'") && error.contains("elements"), "{error}");
}

fn tree(truth: i64, otherwise: i64, feature: i64) -> NodeProto {
    let mut tree = node("TreeEnsembleRegressor", &["x"], &["y"]);
    tree.domain = "ai.onnx.ml".into();
    tree.attribute = vec![
        ints("nodes_treeids", &[0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[feature, 0, 0]),
        floats("nodes_values", &[0.5, 0.0, 0.0]),
        texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        ints("nodes_truenodeids", &[truth, 0, 0]),
        ints("nodes_falsenodeids", &[otherwise, 0, 0]),
        ints("target_treeids", &[0, 0]),
        ints("target_nodeids", &[1, 2]),
        ints("target_ids", &[0, 0]),
        floats("target_weights", &[1.0, 2.0]),
    ];
    tree
}

#[test]
fn trees_with_cycles_missing_children_and_features_out_of_range_are_refused() {
    assert!(load_graph(vec![tree(1, 2, 0)], vec![]).is_ok());
    let refused = |truth, otherwise, feature| refusal(vec![tree(truth, otherwise, feature)], vec![]);
    assert!(refused(1, 0, 0).contains("its tree is a cycle"));
    assert!(refused(1, 9, 0).contains("there is no node 9 in tree 0"));
    assert!(refused(-1, 2, 0).contains("there is no node -1 in tree 0"));
    assert!(refused(1, 2, -4).contains("a branch tests feature -4"));
    assert!(refused(1, 2, 2).contains("rows have 2 features, the trees test 3"));
}

#[test]
fn values_that_double_at_every_node_hit_the_limit_instead_of_the_memory() {
    let names: Vec<String> = (0..60).map(|index| format!("v{index}")).collect();
    let mut concat = vec![node("Concat", &["x", "x"], &["v0"])];
    for pair in names.windows(2) {
        concat.push(node("Concat", &[&pair[0], &pair[0]], &[&pair[1]]));
    }
    concat.push(node("Identity", &["v59"], &["y"]));
    for node in &mut concat[..60] {
        node.attribute.push(AttributeProto { name: "axis".into(), kind: 2, i: Some(1), ..AttributeProto::default() });
    }
    let model = load_graph(concat, vec![]).unwrap();
    let row = Tensor { shape: vec![1, 2], data: Data::F32(vec![1.0; 2]) };
    let error = model.run(vec![row]).unwrap_err().to_string();
    assert!(error.contains("send smaller batches"), "{error}");
}

#[test]
fn a_missing_file_and_a_text_file_are_told_apart() {
    assert!(matches!(load(Path::new("/nowhere/model")), Err(LoadError::Missing { .. })));
    let error = from_bytes(b"{\"not\": \"a model\"}", "m.onnx").err().unwrap();
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}

// Damage. Whatever the bytes are: an error or an answer, no panic.

fn exercise(name: &str, damaged: &[u8]) {
    if let Ok(model) = from_bytes(damaged, name) {
        let (inputs, _) = case(name);
        drop(model.run(inputs));
    }
}

#[test]
fn a_model_cut_off_anywhere_does_not_panic() {
    for name in ["digits_logistic_f32", "forest_binary", "table_logistic", "mlp_regressor"] {
        let whole = bytes(name);
        for end in (0..whole.len()).step_by(whole.len() / 150 + 1) {
            exercise(name, &whole[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_model_with_changed_bytes_does_not_panic(
        name in prop::sample::select(fixtures()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut damaged = bytes(&name);
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        exercise(&name, &damaged);
    }
}

/// The table of the module's documentation, from the list that the loader uses.
fn table() -> String {
    let mut rows = vec!["| domain | operator | opsets |".to_owned(), "|---|---|---|".to_owned()];
    rows.extend(SUPPORTED.iter().map(|supported| {
        let (first, last) = supported.opsets;
        format!("| {} | {} | {first} to {last} |", supported.domain, supported.operator)
    }));
    rows.iter().flat_map(|row| ["//! ", row, "\n"]).collect()
}

#[test]
fn the_documented_table_is_the_list_that_the_loader_uses() {
    let expected = table();
    assert!(include_str!("mod.rs").contains(&expected), "mod.rs must contain:\n{expected}");
}
