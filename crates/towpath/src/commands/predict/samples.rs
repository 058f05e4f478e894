//! Lines of a CSV file as requests of the Open Inference Protocol v2.

use std::path::Path;

use serde_json::{Value, json};

use super::endpoint::Input;
use crate::error::Error;

/// Lines that are held in memory.
const MOST_SAMPLES: usize = 100_000;

/// The lines of a file.
#[derive(Debug)]
pub struct Samples {
    pub all: Vec<Sample>,
}

/// One line.
#[derive(Debug)]
pub struct Sample {
    /// The body of the request.
    pub body: Vec<u8>,
    /// The right answer, if there is a column of them.
    pub label: Option<Value>,
}

/// Which column goes where.
struct Columns {
    /// For each input of the model, the columns it takes.
    inputs: Vec<Vec<usize>>,
    label: Option<usize>,
}

impl Samples {
    /// Reads at most `most` lines. A model with one tensor gets all columns but the label's, in the
    /// order of the file; one with several inputs gets each from the column of its name.
    pub fn read(path: &Path, inputs: &[Input], label: Option<&str>, most: Option<usize>) -> Result<Self, Error> {
        let file = path.display();
        let invalid = |error: csv::Error| Error::invalid(format!("{file}: {error}"));
        let bytes = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let names: Vec<String> = reader.headers().map_err(invalid)?.iter().map(str::to_owned).collect();
        let columns = columns(&names, inputs, label).map_err(|problem| Error::invalid(format!("{file}: {problem}")))?;
        let mut all = Vec::new();
        for record in reader.records().take(most.unwrap_or(MOST_SAMPLES)) {
            let record = record.map_err(invalid)?;
            let line = record.position().map_or(0, csv::Position::line);
            let body = body(&record, inputs, &columns).map_err(|(column, problem)| {
                Error::invalid(format!("{file}, line {line}, column {}: {problem}", names[column]))
            })?;
            let label = columns.label.and_then(|at| record.get(at)).filter(|text| !text.is_empty()).map(label_value);
            all.push(Sample { body, label });
        }
        if all.is_empty() {
            return Err(Error::invalid(format!("{file} has no line below its header")));
        }
        Ok(Self { all })
    }
}

fn columns(names: &[String], inputs: &[Input], label: Option<&str>) -> Result<Columns, String> {
    let find = |name: &str| {
        let at = names.iter().position(|column| column == name);
        at.ok_or_else(|| format!("there is no column '{name}'; columns: {}", names.join(", ")))
    };
    let mut label = label.map(find).transpose()?;
    if let [input] = inputs {
        let wanted = input.width;
        let readable = names.len() - usize::from(label.is_some());
        if label.is_none() && wanted.is_some_and(|wanted| wanted + 1 == names.len()) {
            label = Some(names.len() - 1);
        } else if let Some(wanted) = wanted.filter(|wanted| *wanted != readable) {
            return Err(format!(
                "the model reads {wanted} columns and there are {readable}{}",
                if label.is_none() { "; name the one with the right answers: --label-column" } else { "" }
            ));
        }
        let read = (0..names.len()).filter(|at| Some(*at) != label).collect();
        return Ok(Columns { inputs: vec![read], label });
    }
    let inputs = inputs.iter().map(|input| Ok(vec![find(&input.name)?])).collect::<Result<_, String>>()?;
    Ok(Columns { inputs, label })
}

/// The request, or the column that cannot be sent and why.
fn body(record: &csv::StringRecord, inputs: &[Input], columns: &Columns) -> Result<Vec<u8>, (usize, String)> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for (input, read) in inputs.iter().zip(&columns.inputs) {
        let cell = |at: &usize| cell(record.get(*at).unwrap_or_default(), &input.datatype).map_err(|e| (*at, e));
        let data: Vec<Value> = read.iter().map(cell).collect::<Result<_, _>>()?;
        tensors.push(json!({
            "name": input.name,
            "datatype": input.datatype,
            "shape": [1, data.len()],
            "data": data,
        }));
    }
    Ok(json!({ "inputs": tensors }).to_string().into_bytes())
}

fn cell(text: &str, datatype: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("expected {what}, found '{text}'");
    match datatype {
        "BYTES" => Ok(Value::from(text)),
        "BOOL" => text.to_lowercase().parse::<bool>().map(Value::from).map_err(|_| wrong("true or false")),
        "FP16" | "FP32" | "FP64" => {
            let number: f64 = text.parse().map_err(|_| wrong("a number"))?;
            if number.is_finite() { Ok(Value::from(number)) } else { Err(wrong("a finite number")) }
        }
        _ => text.parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number")),
    }
}

/// A number where it reads as one, so that it compares with what the model answers.
fn label_value(text: &str) -> Value {
    let whole = text.parse::<i64>().ok().map(Value::from);
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
    whole.or_else(number).unwrap_or_else(|| Value::from(text))
}

/// True when the model said so: numbers by value, all else by its text.
pub fn is_right(answer: &Value, label: &Value) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (answer.as_f64(), label.as_f64()) {
        (Some(answer), Some(label)) => answer.total_cmp(&label).is_eq(),
        _ => text(answer) == text(label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(width: usize) -> Vec<Input> {
        vec![Input { name: "X".into(), datatype: "FP32".into(), width: Some(width) }]
    }

    fn read(text: &str, inputs: &[Input], label: Option<&str>) -> Result<Samples, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("live.csv");
        std::fs::write(&path, text).unwrap();
        Samples::read(&path, inputs, label, None).map_err(|mut error| {
            error.message = error.message.replace(&format!("{}/", dir.path().display()), "");
            error
        })
    }

    #[test]
    fn a_line_is_one_row_of_the_model_s_tensor() {
        let samples = read("a,digit,b\n1,7,2.5\n", &tensor(2), Some("digit")).unwrap();
        let body: Value = serde_json::from_slice(&samples.all[0].body).unwrap();
        let expected = json!({"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.5]}]});
        assert_eq!((body, samples.all[0].label.clone()), (expected, Some(json!(7))));
    }

    #[test]
    fn one_column_more_than_the_model_reads_is_the_label() {
        let samples = read("a,b,kind\n1,2,cat\n", &tensor(2), None).unwrap();
        assert_eq!(samples.all[0].label, Some(json!("cat")));
        assert_eq!(read("a,b\n1,2\n", &tensor(2), None).unwrap().all[0].label, None);
    }

    #[test]
    fn several_inputs_take_the_columns_of_their_names() {
        let input = |name: &str, datatype: &str| Input { name: name.into(), datatype: datatype.into(), width: Some(1) };
        let inputs = [input("city", "BYTES"), input("age", "INT64")];
        let samples = read("age,city\n41,Ulm\n", &inputs, None).unwrap();
        let body: Value = serde_json::from_slice(&samples.all[0].body).unwrap();
        assert_eq!(body["inputs"][0]["data"], json!(["Ulm"]));
        assert_eq!(body["inputs"][1]["data"], json!([41]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |text, inputs: &[Input], label| read(text, inputs, label).unwrap_err().message;
        assert_eq!(error("a,b\n1,x\n", &tensor(2), None), "live.csv, line 2, column b: expected a number, found 'x'");
        assert_eq!(
            error("a,b\n1,2\n", &tensor(4), None),
            "live.csv: the model reads 4 columns and there are 2; name the one with the right answers: --label-column"
        );
        assert_eq!(error("a,b\n1,2\n", &tensor(1), Some("c")), "live.csv: there is no column 'c'; columns: a, b");
        assert_eq!(error("a,b\n", &tensor(2), None), "live.csv has no line below its header");
    }

    #[test]
    fn an_answer_is_compared_by_value() {
        assert!(is_right(&json!(3), &json!(3.0)));
        assert!(is_right(&json!("cat"), &json!("cat")));
        assert!(is_right(&json!("3"), &json!(3)));
        assert!(!is_right(&json!(3), &json!(4)));
    }
}
