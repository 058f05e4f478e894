//! A line of a stage's `cmd`, run as DVC runs it: by the user's shell without its start-up files.
//! A line of plain words means the same without a shell and is started directly, as `make` does:
//! starting a shell takes as long as all the rest.

use std::path::{Path, PathBuf};

/// Shells whose reading of plain words is known.
const SHELLS: [&str; 4] = ["sh", "dash", "bash", "zsh"];

/// First words that a shell carries out itself, or that begin its syntax.
const OF_THE_SHELL: [&str; 92] = [
    ".",
    ":",
    "[",
    "alias",
    "autoload",
    "bg",
    "bind",
    "break",
    "builtin",
    "bye",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disable",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "emulate",
    "enable",
    "end",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "float",
    "for",
    "foreach",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "integer",
    "jobs",
    "kill",
    "let",
    "local",
    "login",
    "logout",
    "mapfile",
    "nocorrect",
    "noglob",
    "popd",
    "print",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "repeat",
    "return",
    "select",
    "set",
    "setopt",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unset",
    "until",
    "wait",
    "while",
];

/// The shell that runs the line, and its arguments.
pub(super) fn argv(line: &str) -> Vec<String> {
    let shell = shell();
    let options: &[&str] = match name_of(&shell) {
        "bash" => &["--noprofile", "--norc"],
        "zsh" => &["--no-rcs"],
        _ => &[],
    };
    let options = options.iter().map(|o| (*o).to_owned());
    [shell.clone()].into_iter().chain(options).chain(["-c".to_owned(), line.to_owned()]).collect()
}

fn shell() -> String {
    std::env::var("SHELL").ok().filter(|s| Path::new(s).is_file()).unwrap_or_else(|| "/bin/sh".into())
}

fn name_of(shell: &str) -> &str {
    Path::new(shell).file_name().and_then(|n| n.to_str()).unwrap_or_default()
}

/// A program and its arguments, the first of which is its name as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Direct<'l> {
    pub(super) program: PathBuf,
    pub(super) words: Vec<&'l str>,
}

/// The program that the shell would start for a line of plain words. `None` leaves the line to the
/// shell: also when there is no such program, which the shell reports.
pub(super) fn direct<'l>(line: &'l str, folder: &Path, search: &str) -> Option<Direct<'l>> {
    if !SHELLS.contains(&name_of(&shell())) {
        return None;
    }
    plain_words(line).and_then(|words| Some(Direct { program: find(words.first()?, folder, search)?, words }))
}

/// The words, if none of them means anything to a shell.
fn plain_words(line: &str) -> Option<Vec<&str>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:=+@".contains(c);
    let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let first = words.first()?;
    let of_the_shell = first.contains('=') || OF_THE_SHELL.contains(first) || first.starts_with(['-', '+']);
    // `=ls` is the path of `ls` to zsh.
    let all_plain = words.iter().all(|word| word.chars().all(plain) && !word.starts_with('='));
    (all_plain && !of_the_shell).then_some(words)
}

/// As a shell finds it: the path itself, or the first executable file of that name.
fn find(name: &str, folder: &Path, search: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(folder.join(name)).filter(|path| is_program(path));
    }
    let folders = std::env::split_paths(search).map(|path| folder.join(path));
    folders.map(|path| path.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_need_no_shell() {
        for line in ["cp a.txt b.txt", "python  train.py --lr=0.1", "./run.sh x,y", "dvc-tool @file"] {
            assert!(plain_words(line).is_some(), "{line}");
        }
        for line in [
            "echo x > f",
            "a && b",
            "a; b",
            "a | b",
            "$HOME/x",
            "x *.txt",
            "x 'y'",
            "x \"y\"",
            "x y\\ z",
            "A=1 x",
            "cd d",
            "~/x",
            "x {a,b}",
            "x # c",
            "x `y`",
            "(x)",
            "!x",
            "x ?",
            "x [a]",
            "x =ls",
            "echo -e x",
            "true",
            "",
            " ",
            "x é",
        ] {
            assert_eq!(plain_words(line), None, "{line}");
        }
    }

    #[test]
    fn the_list_of_shell_words_is_sorted_so_that_it_can_be_read() {
        assert!(OF_THE_SHELL.is_sorted());
    }

    #[test]
    fn a_program_is_found_in_the_folders_of_the_path_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("bin/tool");
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::write(&tool, "").unwrap();
        assert_eq!(find("tool", dir.path(), "bin:/nowhere"), None);
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool", dir.path(), "/nowhere:bin"), Some(tool.clone()));
        assert_eq!(find("bin/tool", dir.path(), ""), Some(tool));
        assert_eq!(find("bin", dir.path(), "."), None);
    }
}
