//! The real podman with a store of its own, and a small image in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::{Home, text};

pub(crate) const IMAGE: &str = "localhost/tools:1";

const TOOLS: [&str; 14] =
    ["sh", "cat", "echo", "env", "grep", "head", "id", "ls", "mkdir", "sleep", "tail", "touch", "true", "wc"];

pub(crate) struct Podman {
    folder: PathBuf,
}

impl Podman {
    pub(crate) fn beside(home: &Home) -> Self {
        let podman = Self { folder: home.outside("containers") };
        fs::create_dir_all(&podman.folder).unwrap();
        let folder = podman.folder.display();
        // Of this machine: control groups that crun does not know, and limits that podman's defaults are beyond.
        let settings = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nlock_type = \"file\"\n\
             tmp_dir = \"{folder}/tmp\"\n"
        );
        fs::write(podman.folder.join("containers.conf"), settings).unwrap();
        let storage =
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{folder}/store\"\nrunroot = \"{folder}/run\"\n");
        fs::write(podman.folder.join("storage.conf"), storage).unwrap();
        podman.build(IMAGE, "first");
        podman
    }

    /// An image of nothing but a static busybox and a file that says which one it is.
    pub(crate) fn build(&self, name: &str, release: &str) {
        let root = self.folder.join("root");
        drop(fs::remove_dir_all(&root));
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("release"), release).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        fs::copy(busybox.expect("busybox-static is missing: run make setup"), root.join("bin/busybox")).unwrap();
        for tool in TOOLS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
        }
        let mut tar =
            Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = self.command(&["import", "-", name]);
        let output = import.stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(tar.wait().unwrap().success());
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.args(arguments);
        self.settle(&mut command);
        command
    }

    /// Makes a command use this store.
    pub(crate) fn settle(&self, command: &mut Command) {
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"));
    }

    /// All containers that there are, by their names.
    pub(crate) fn containers(&self) -> Vec<String> {
        let output = self.command(&["ps", "--all", "--format", "{{.Names}}"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(str::to_owned).collect()
    }
}
