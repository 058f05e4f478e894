use crate::program::{Home, text};

#[test]
fn wrong_usage_is_2() {
    let home = Home::new();
    assert_eq!(home.fails(&["release", "approve", "12"]).0, 2, "the reason is missing");
    let (code, said) = home.fails(&["new", "a b"]);
    assert_eq!(code, 2);
    assert!(said.starts_with("error: 'a b' cannot be the name of a project\nhint: "), "{said}");
}

#[test]
fn a_file_that_is_wrong_is_2_and_shows_the_place() {
    let home = Home::repository();
    home.write("dvc.yaml", "stages:\n  train:\n    cmd: echo\n    depps: [x]\n");
    let (code, said) = home.fails(&["repro"]);
    assert_eq!(code, 2);
    assert!(said.contains("dvc.yaml:4:5") && said.contains("depps: [x]"), "{said}");
}

#[test]
fn what_is_not_there_is_3() {
    let (code, said) = Home::new().fails(&["blame", "data.csv"]);
    assert_eq!(code, 3);
    assert!(said.contains("no .dvc folder"), "{said}");
}

#[test]
fn verbs_of_dvc_end_with_its_codes() {
    let home = Home::new();
    let (code, said) = home.fails(&["status"]);
    assert_eq!(code, 253);
    assert!(said.contains("no .dvc folder"), "{said}");
    let home = Home::repository();
    home.write("a.csv", "1\n");
    home.ok(&["add", "a.csv"]);
    for (command, code) in [
        (&["add", "nothing"][..], 1),
        (&["add", "--out", "x", "a", "b"], 1),
        (&["add", "--no-such-flag"], 254),
        (&["remote", "add", "store"], 254),
        (&["remote", "modify", "store", "url", "x"], 251),
        (&["push", "--remote", "store"], 1),
        (&["checkout", "nothing"], 255),
        (&["check-ignore", "a.csv"], 1),
    ] {
        assert_eq!(home.fails(command).0, code, "{command:?}");
    }
    home.write(".dvc/config", "[core]\n    remot = store\n");
    assert_eq!(home.fails(&["add", "a.csv"]).0, 251);
    home.write(".dvc/config", "[feature]\n    new = 1\n");
    let warned = home.run(&["status"]);
    assert!(text(&warned.stderr).contains("warning: 'feature.new' config option is unsupported"));
}

#[test]
fn a_server_that_does_not_answer_is_4_and_says_what_to_do() {
    let (code, said) = Home::new().fails(&["audit", "verify"]);
    assert_eq!(code, 4);
    assert!(said.contains("no answer from http://127.0.0.1:1"), "{said}");
    assert!(said.contains("hint: start it: towpath server"), "{said}");
}

#[test]
fn what_exists_already_is_5() {
    let home = Home::new();
    home.write("digits/README.md", "mine");
    let (code, said) = home.fails(&["new", "digits"]);
    assert_eq!(code, 5);
    assert!(said.contains("exists already"), "{said}");
    assert_eq!(home.read("digits/README.md"), "mine");
}

#[test]
fn a_project_that_cannot_be_derived_is_asked_for() {
    let home = Home::repository();
    let (code, said) = home.fails(&["run", "ls"]);
    assert_eq!(code, 2);
    assert!(said.contains("this clone has no remote 'origin'") && said.contains("--project NAME"), "{said}");
    home.git(&["remote", "add", "origin", "http://127.0.0.1:1/git/digits.git"]);
    assert_eq!(home.fails(&["run", "ls"]).0, 4, "the project is known, the server does not answer");
}
