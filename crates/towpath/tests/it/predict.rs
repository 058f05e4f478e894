//! Against a real data plane, `towpath serve`.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Home, text};

/// A model of handwritten digits that serves until the value is dropped.
struct Serving {
    process: Child,
    address: String,
}

impl Serving {
    fn start(home: &Home) -> Self {
        let model =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../serving/testdata/onnx/digits_logistic_arrays.onnx");
        let model = format!("digits={}", model.display());
        let mut command =
            home.towpath(&["serve", "--listen", "127.0.0.1:0", "--model", &model, "--state-dir", "state"]);
        let process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut serving = Self { process, address: String::new() };
        // Its log is JSON when nobody watches; the line about serving has the address.
        for line in BufReader::new(serving.process.stderr.take().unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if let Some(address) = line["fields"]["address"].as_str() {
                serving.address = format!("http://{address}");
                return serving;
            }
        }
        panic!("towpath serve ended");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Images with the digits that the model of the fixture sees in them, the first one mislabelled.
fn images(home: &Home) -> Vec<i64> {
    let fixture = include_str!("../../../serving/testdata/onnx/digits_logistic_arrays.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let pixels = fixture["inputs"][0]["data"].as_array().unwrap();
    let digits: Vec<i64> =
        fixture["outputs"][0]["data"].as_array().unwrap().iter().map(|d| d.as_i64().unwrap()).collect();
    let header: Vec<String> = (0..64).map(|i| format!("pixel_{i:02}")).collect();
    let mut csv = format!("{},digit\n", header.join(","));
    for (row, (image, digit)) in pixels.chunks(64).zip(&digits).enumerate() {
        for pixel in image {
            let _ = write!(csv, "{pixel},");
        }
        let _ = writeln!(csv, "{}", if row == 0 { (digit + 1) % 10 } else { *digit });
    }
    home.write("live.csv", &csv);
    digits
}

#[test]
fn each_line_of_a_file_is_predicted() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let digits = images(&home);
    let answer: Value =
        serde_json::from_str(&home.ok(&["predict", &serving.address, "--input", "live.csv", "--json"])).unwrap();
    let predictions = answer["predictions"].as_array().unwrap();
    let labels: Vec<i64> = predictions.iter().map(|p| p["label"].as_i64().unwrap()).collect();
    assert_eq!(labels, digits);
    assert!(predictions.iter().all(|p| !p["id"].as_str().unwrap().is_empty()));
    assert!(predictions.iter().all(|p| p["revision"].as_str().unwrap().starts_with("digits")));
}

#[test]
fn traffic_is_played_with_labels_until_it_is_interrupted() {
    let home = Home::new();
    let serving = Serving::start(&home);
    let digits = images(&home);
    let arguments = ["predict", &serving.address, "--replay", "live.csv", "--rate", "200", "--duration", "10m"];
    let mut command = home.towpath(&[&arguments[..], &["--label-delay", "10ms", "--json"]].concat());
    let traffic = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let enough = 2 * digits.len() as u64;
    let deadline = Instant::now() + Duration::from_mins(1);
    while labelled(&home, &serving) < enough && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let interrupted = Command::new("kill").args(["-INT", &traffic.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = traffic.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((output.status.code(), number("failed"), &report["errors"]), (Some(0), 0, &json!({})));
    assert!(number("requests") >= enough, "{report}");
    assert_eq!((number("labelled"), number("labels_accepted")), (number("requests"), number("requests")));
    let wrong = number("requests").div_ceil(digits.len() as u64);
    assert_eq!(number("correct"), number("requests") - wrong, "one image in each round is mislabelled");
    assert!(report["p50_ms"].as_f64() <= report["p99_ms"].as_f64());
}

/// Labels that the data plane has counted.
fn labelled(home: &Home, serving: &Serving) -> u64 {
    let fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    let url = format!("{}/metrics", serving.address);
    let output = home.command("python3").args(["-c", fetch, &url]).output().unwrap();
    let metrics = text(&output.stdout);
    let counted = metrics.lines().filter(|line| line.contains("labels_total") && line.contains("accepted"));
    counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn an_endpoint_that_does_not_answer_is_4() {
    let home = Home::new();
    home.write("live.csv", "x\n1\n");
    let (code, said) = home.fails(&["predict", "http://127.0.0.1:1", "--input", "live.csv"]);
    assert_eq!(code, 4);
    assert!(said.contains("http://127.0.0.1:1 cannot be reached"), "{said}");
}

#[test]
fn a_file_that_does_not_fit_the_model_is_2() {
    let home = Home::new();
    let serving = Serving::start(&home);
    home.write("live.csv", "a,b\n1,2\n");
    let (code, said) = home.fails(&["predict", &serving.address, "--input", "live.csv"]);
    assert_eq!(code, 2);
    assert!(said.contains("live.csv: the model reads 64 columns and there are 2"), "{said}");
}
