//! `plots`, beside the real client.

use std::fs;

use serde_json::{Value, json};

use crate::dvc::dvc;
use crate::program::Home;

const PIPELINE: &str = "\
vars:
- name: acc
stages:
  train:
    cmd: sh make.sh
    deps: [make.sh]
    plots:
    - logs.csv: {x: step, y: loss, title: Loss, y_label: L}
    - folder
    - img.png: {cache: false}
    - conf.json: {template: confusion, x: actual, y: predicted}
    - bare.csv: {header: false, x: '0', y: '1'}
plots:
- logs.csv: {x: step, y: acc}
- both: {x: step, y: {logs.csv: [acc, loss]}}
- 'multi ${name}': {y: {folder/a.tsv: acc, folder/b.json: acc}, template: simple}
- 'other x': {x: {logs.csv: loss}, y: {folder/a.tsv: acc, folder/b.json: [acc, n]}}
- 'wrong field': {x: step, y: {folder/a.tsv: acc}}
- folder/b.json
- gone.json
- odd.txt
";

const SCRIPT: &str = r#"printf 'step,acc,loss\n0,0.1,3\n1,0.5,2\n2,0.7,1.5\n' > logs.csv
mkdir -p folder
printf 'acc\n0.2\n0.3\n0.4\n' > folder/a.tsv
echo '{"train": [{"acc": 0.5, "n": 1}, {"acc": 1e-3, "n": 2}, {"acc": 3, "n": 4}], "note": 1}' > folder/b.json
printf 'PNG' > img.png
echo '[{"actual": "cat", "predicted": "dog"}, {"actual": "cat", "predicted": "cat"}]' > conf.json
printf '1,2\n3,4\n' > bare.csv
"#;

/// Every anchor that there is.
fn template() -> Value {
    let names = [
        "data",
        "title",
        "x",
        "y",
        "x_label",
        "y_label",
        "color",
        "column",
        "group_by_x",
        "group_by_y",
        "group_by",
        "pivot_field",
        "plot_height",
        "plot_width",
        "row",
        "shape",
        "stroke_dash",
        "tooltip",
        "zoom_and_pan",
    ];
    let anchors =
        names.iter().map(|name| (format!("of {name}"), json!(format!("<DVC_METRIC_{}>", name.to_uppercase()))));
    let mut template: serde_json::Map<String, Value> = anchors.collect();
    template.insert("inside".to_owned(), json!({"list": [{"calculate": "datum.<DVC_METRIC_X> + 1"}]}));
    Value::Object(template)
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The specifications of templates are our own: what is compared of them is what goes into them.
fn without_specifications(mut shown: Value) -> Value {
    for plot in shown["data"].as_object_mut().into_iter().flatten().flat_map(|(_, plots)| plots.as_array_mut().unwrap())
    {
        if let Some(content) = plot.get("content") {
            plot["content"] = json!([content["data"]["values"], content["title"]["text"]]);
        }
    }
    shown
}

#[test]
fn plots_of_the_workspace_and_of_commits_are_those_of_dvc() {
    let home = Home::repository();
    home.write("dvc.yaml", PIPELINE);
    home.write("make.sh", SCRIPT);
    home.write("odd.txt", "x");
    home.write(".dvc/plots/all.json", &template().to_string());
    home.ok(&["repro"]);
    home.commit("first");
    home.write("make.sh", &SCRIPT.replace("0.7,1.5", "0.8,1.2").replace("\"n\": 4", "\"n\": 5"));
    home.ok(&["repro"]);
    // Then only the cache has it.
    fs::remove_dir_all(home.path("folder")).unwrap();
    let commands: [&[&str]; 14] = [
        &["plots", "show", "--json"],
        &["plots", "diff", "--json"],
        &["plots", "diff", "HEAD", "--json", "--split"],
        &["plots", "show", "--json", "--split", "-t", "scatter"],
        &["plots", "show", "--json", "--split", "-t", "bar_horizontal_sorted"],
        &["plots", "show", "--json", "-t", "all", "--x-label", "X", "--title", "T"],
        &["plots", "diff", "--json", "--split", "-t", "all", "--targets", "both", "other x", "multi"],
        &["plots", "diff", "--json", "-t", "all", "--targets", "both", "other x", "folder/a.tsv"],
        &["plots", "show", "--json", "logs.csv", "-x", "loss", "-y", "acc"],
        &["plots", "show", "--json", "logs.csv", "-x", "nothing"],
        &["plots", "show", "--json", "folder", "nope.csv"],
        &["plots", "show", "--json", "img", "-o", "pictures"],
        &["plots", "show", "make.sh.gone.json", "--json"],
        &["plots", "templates"],
    ];
    let theirs = dvc(&home, &commands);
    let picture = home.path("pictures/workspace_img.png");
    fs::remove_file(&picture).unwrap();
    for (command, theirs) in commands.iter().zip(theirs) {
        let ours = home.ok(command);
        if command.contains(&"--json") {
            let own = |shown: &str| {
                if command.contains(&"all") { parsed(shown) } else { without_specifications(parsed(shown)) }
            };
            assert_eq!(own(&ours), own(&theirs), "{command:?}");
        } else {
            assert_eq!(ours, theirs, "{command:?}");
        }
    }
    assert_eq!(fs::read(&picture).unwrap(), b"PNG");
}

#[test]
fn the_page_of_plots_is_one_file_and_loads_nothing() {
    let home = Home::repository();
    home.write("dvc.yaml", PIPELINE);
    home.write("make.sh", SCRIPT);
    home.ok(&["repro"]);
    home.commit("first");
    let path = home.path("dvc_plots/index.html");
    assert_eq!(home.ok(&["plots", "diff", "HEAD"]).trim(), format!("file://{}", path.display()));
    let page = fs::read_to_string(path).unwrap();
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!addresses.contains("src=\"") && !addresses.contains("://"), "it loads something");
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let plots = parsed(data);
    let plot = |name: &str| plots.as_array().unwrap().iter().find(|plot| plot["name"] == name).unwrap();
    assert_eq!(plot("both")["chart"]["revisions"], json!(["workspace", "HEAD"]));
    assert_eq!(plot("both")["chart"]["rows"].as_array().unwrap().len(), 12);
    assert_eq!(plot("conf.json")["chart"]["mark"], "matrix");
    assert_eq!(plot("img.png")["pictures"][0]["src"], "data:image/png;base64,UE5H");
    assert!(plot("gone.json")["failures"][0].as_str().unwrap().contains("No such file"));
    let specification = parsed(&home.ok(&["plots", "show", "--show-vega", "both"]));
    assert_eq!(specification["encoding"]["x"]["field"], "step");
    let (code, said) = home.fails(&["plots", "show", "-t", "nope"]);
    assert!(code != 0 && said.contains("there is no template 'nope'") && said.contains("linear"), "{said}");
}
