use std::fmt::Write as _;

use crate::program::Home;

const OF_EVERY_COMMAND: &str = "Options of every command:";

/// The help of a command and of those below it.
fn tree(home: &Home, command: &[&str], out: &mut String) {
    let help = home.ok(&[command, &["--help"]].concat());
    // The options that every command has are shown once.
    let own = help.split(OF_EVERY_COMMAND).next().filter(|_| !command.is_empty()).unwrap_or(&help);
    let _ = writeln!(out, "# {}\n\n{}\n", [&["towpath"], command].concat().join(" "), own.trim_end());
    let listed = help.split("Commands:\n").nth(1).map(|rest| rest.split("\n\n").next().unwrap_or_default());
    for line in listed.unwrap_or_default().lines() {
        // Wrapped descriptions are indented further than names.
        if let Some(name) =
            line.strip_prefix("  ").and_then(|l| l.split_whitespace().next()).filter(|_| !line.starts_with("   "))
        {
            tree(home, &[command, &[name]].concat(), out);
        }
    }
}

#[test]
fn the_whole_help() {
    let mut out = String::new();
    tree(&Home::new(), &[], &mut out);
    insta::assert_snapshot!(out);
}

#[test]
fn the_version_is_printed() {
    assert_eq!(Home::new().ok(&["--version"]), format!("towpath {}\n", env!("CARGO_PKG_VERSION")));
}
