//! Folders and files, drawn as a tree.

use std::collections::BTreeMap;

/// What is in a folder.
#[derive(Default)]
struct Branch<'l>(BTreeMap<&'l str, Branch<'l>>);

/// The lines of a tree: its root, then `paths`, whose order by path they keep.
pub fn tree<'p>(root: &str, paths: impl Iterator<Item = &'p str>) -> Vec<String> {
    let mut top = Branch::default();
    for path in paths {
        path.split('/').fold(&mut top, |branch, part| branch.0.entry(part).or_default());
    }
    let mut lines = vec![if root.is_empty() { ".".to_owned() } else { root.to_owned() }];
    draw(&top, "", &mut lines);
    lines
}

fn draw(branch: &Branch<'_>, prefix: &str, lines: &mut Vec<String>) {
    for (i, (name, below)) in branch.0.iter().enumerate() {
        let last = i + 1 == branch.0.len();
        lines.push(format!("{prefix}{}{name}", if last { "└── " } else { "├── " }));
        draw(below, &format!("{prefix}{}", if last { "    " } else { "│   " }), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_drawn_with_what_is_in_them() {
        let paths = ["code", "code/x", "code.txt", "data", "data/a", "data/sub", "data/sub/b"];
        assert_eq!(
            tree("", paths.into_iter()).join("\n"),
            ".\n├── code\n│   └── x\n├── code.txt\n└── data\n    ├── a\n    └── sub\n        └── b"
        );
    }
}
