//! `import-url` and `update` beside the real `dvc`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use towpath_data::config::RemoteOptions;
use towpath_data::external::{Address, Depth};
use towpath_data::imports::{self, Import, Imported, Origin, TakeUrl, ToRemote};
use towpath_data::pointer::PointerFile;
use towpath_data::{Error, Silent, verbs};

use crate::moto::Moto;
use crate::support::Project;

/// Serves one file at `/data.csv` with an `ETag`; says that it has `missing` more bytes than it sends.
struct Site {
    url: String,
    file: Arc<Mutex<(&'static str, usize)>>,
}

impl Site {
    fn start(content: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data.csv", listener.local_addr().unwrap());
        let file = Arc::new(Mutex::new((content, 0)));
        let served = Arc::clone(&file);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (content, missing) = *served.lock().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let (status, content) =
                    if first.contains(" /data.csv ") { ("200 OK", content) } else { ("404 Not Found", "") };
                let length = content.len() + missing;
                let head = format!(
                    "HTTP/1.1 {status}\r\nETag: \"v{}\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
                    content.len()
                );
                let body = if first.starts_with("HEAD") { "" } else { content };
                // A client that hangs up early is no failure of the test.
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { url, file }
    }

    fn serve(&self, content: &'static str, missing: usize) {
        *self.file.lock().unwrap() = (content, missing);
    }
}

fn import(project: &Project, url: &str, out: &str, take: TakeUrl<'_>) -> Result<Imported, Error> {
    let (repository, root) = (project.repository(), project.root());
    let options = RemoteOptions::new();
    let origin = Origin { url, from: &root, options: &options, jobs: None };
    imports::import_url(&repository, &origin, Path::new(out), take, false, &[], &Silent)
}

fn update(project: &Project, pointer: &str) -> Result<bool, Error> {
    let repository = project.repository();
    let pointer = PointerFile::read(repository.root(), pointer)?.unwrap();
    Ok(imports::update_url(&repository, &pointer, TakeUrl::Data, false, &Silent)?.changed)
}

#[test]
fn what_comes_from_an_address_is_recorded_as_dvc_records_it() {
    let site = Site::start("x,y\n1,2\n");
    let (ours, theirs) = (Project::ours(), Project::by_dvc());
    let folder = ours.beside("folder");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("a"), "a").unwrap();
    fs::write(folder.join("sub/b"), "b").unwrap();
    let folder = folder.to_str().unwrap();
    for project in [&ours, &theirs] {
        project.write("here", "here");
    }
    for (url, out, flag, take) in [
        (site.url.as_str(), "data.csv", "-q", TakeUrl::Data),
        (folder, "folder", "-q", TakeUrl::Data),
        ("here", "copy", "-q", TakeUrl::Data),
        (&site.url, "later.csv", "--no-download", TakeUrl::Fingerprint),
        (&site.url, "never.csv", "--no-exec", TakeUrl::Nothing),
    ] {
        import(&ours, url, out, take).unwrap();
        theirs.dvc(&["import-url", flag, url, out]);
        let pointer = format!("{out}.dvc");
        assert_eq!(ours.read(&pointer), theirs.read(&pointer));
    }
    assert_eq!(ours.read(".gitignore"), theirs.read(".gitignore"));
    assert_eq!([ours.read("data.csv"), ours.read("folder/sub/b"), ours.read("copy")], ["x,y\n1,2\n", "b", "here"]);
    for unmade in ["later.csv.dvc", "never.csv.dvc"] {
        fs::remove_file(ours.root().join(unmade)).unwrap();
    }
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");

    assert!(!update(&ours, "data.csv.dvc").unwrap());
    site.serve("x,y\n1,2\n3,4\n", 0);
    fs::write(Path::new(folder).join("c"), "c").unwrap();
    for pointer in ["data.csv.dvc", "folder.dvc"] {
        assert!(update(&ours, pointer).unwrap());
        theirs.dvc(&["update", "-q", pointer]);
        assert_eq!(ours.read(pointer), theirs.read(pointer));
    }
    assert_eq!([ours.read("data.csv"), ours.read("folder/c")], ["x,y\n1,2\n3,4\n", "c"]);
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn data_can_go_to_the_remote_alone() {
    let project = Project::by_dvc();
    project.dvc(&["remote", "add", "-q", "-d", "store", project.beside("store").to_str().unwrap()]);
    fs::write(project.beside("big"), "big").unwrap();
    import(&project, project.beside("big").to_str().unwrap(), "big", TakeUrl::ToRemote(ToRemote::default())).unwrap();
    assert!(!project.root().join("big").exists());
    project.dvc(&["pull", "-q"]);
    assert_eq!(project.read("big"), "big");
}

#[test]
fn what_cannot_be_had_leaves_nothing_behind() {
    let site = Site::start("x,y\n");
    let project = Project::ours();
    site.serve("x,y\n", 7);
    let gone = format!("{}.gone", site.url);
    for url in [site.url.as_str(), &gone, "/no/such/file", "http://127.0.0.1:1/x", "remote://nobody/x", "gopher://x/y"]
    {
        import(&project, url, "out", TakeUrl::Data).unwrap_err();
        for left in ["out", "out.dvc", ".gitignore"] {
            assert!(!project.root().join(left).exists(), "{url} left {left}");
        }
    }
    let error = import(&project, &gone, "out", TakeUrl::Data).unwrap_err().to_string();
    assert_eq!(error, format!("there is no data in {gone}"));
    project.write("out", "mine");
    site.serve("x,y\n", 0);
    assert!(matches!(import(&project, &site.url, "out", TakeUrl::Data), Err(Error::Exists { .. })));
    assert_eq!(project.read("out"), "mine");
}

#[test]
fn an_address_is_listed() {
    let project = Project::ours();
    project.write("d/a", "a");
    project.write("d/sub/deep/b", "bb");
    let list = |depth| -> Vec<String> {
        let address = Address::open("d", &project.root(), None, &RemoteOptions::new()).unwrap();
        address.list(depth).unwrap().into_iter().map(|entry| entry.path).collect()
    };
    assert_eq!(list(Depth::Children), ["a", "sub"]);
    assert_eq!(list(Depth::Files(None)), ["a", "sub/deep/b"]);
    assert_eq!(list(Depth::Files(Some(2))), ["a", "sub/deep"]);
    assert_eq!(list(Depth::Everything(Some(2))), ["a", "sub", "sub/deep"]);
}

/// As both tools import it, with the same options.
fn import_with_both(
    ours: &Project,
    theirs: &Project,
    url: &str,
    out: &str,
    options: &RemoteOptions,
    flags: &[&str],
) -> Result<Imported, Error> {
    let (repository, root) = (ours.repository(), ours.root());
    let origin = Origin { url, from: &root, options, jobs: None };
    let take = if flags.contains(&"--no-download") { TakeUrl::Fingerprint } else { TakeUrl::Data };
    let imported = imports::import_url(&repository, &origin, Path::new(out), take, false, &[], &Silent)?;
    let settings =
        options.iter().filter(|(key, _)| key != "version_aware").map(|(key, value)| format!("{key}={value}"));
    let settings: Vec<String> = settings.collect();
    let mut arguments = vec!["import-url", url, out];
    arguments.extend(flags);
    arguments.push("--fs-config");
    arguments.extend(settings.iter().map(String::as_str));
    theirs.dvc(&arguments);
    assert_eq!(ours.read(&format!("{out}.dvc")), theirs.read(&format!("{out}.dvc")));
    Ok(imported)
}

#[test]
fn a_folder_of_an_object_store_is_recorded_as_dvc_records_it() {
    let moto = Moto::start();
    for (key, text) in [("d/a.txt", "a"), ("d/sub/ü b", "bb"), ("d-not/c", "c")] {
        moto.put(key, text);
    }
    let (ours, theirs) = (Project::ours(), Project::ours());
    let options = moto.options();
    import_with_both(&ours, &theirs, "s3://bucket/d", "d", &options, &[]).unwrap();
    import_with_both(&ours, &theirs, "s3://bucket/d/", "later", &options, &["--no-download"]).unwrap();
    assert_eq!((ours.read("d/a.txt"), ours.read("d/sub/ü b")), ("a".to_owned(), "bb".to_owned()));
    assert_eq!(ours.dvc(&["status", "d.dvc", "--json"]).trim(), "{}");

    let update = |project: &Project| {
        let pointer = PointerFile::read(&project.root(), "d.dvc").unwrap().unwrap();
        imports::update_url(&project.repository(), &pointer, TakeUrl::Data, false, &Silent).unwrap().changed
    };
    assert!(!update(&ours));
    moto.put("d/a.txt", "another");
    assert!(update(&ours));
    theirs.dvc(&["update", "d.dvc"]);
    assert_eq!(ours.read("d.dvc"), theirs.read("d.dvc"));
    assert_eq!(ours.read("d/a.txt"), "another");
    let pulled = verbs::pull(&ours.repository(), &[], None, false, &Silent).unwrap();
    assert_eq!(pulled.checked_out, ["later"], "what was never downloaded");
}

#[test]
fn an_import_by_version_comes_from_the_store_at_the_recorded_version() {
    let moto = Moto::versioned();
    for (key, text) in [("d/a.txt", "a"), ("d/sub/ü b", "bb"), ("one", "1")] {
        moto.put(key, text);
    }
    let (ours, theirs) = (Project::ours(), Project::ours());
    let mut options = moto.options();
    options.push(("version_aware".to_owned(), "true".to_owned()));
    for (url, out, flags) in [
        ("s3://bucket/d", "d", &["--version-aware"][..]),
        ("s3://bucket/one", "one", &["--version-aware"]),
        ("s3://bucket/d", "later", &["--version-aware", "--no-download"]),
    ] {
        import_with_both(&ours, &theirs, url, out, &options, flags).unwrap();
    }
    for project in [&ours, &theirs] {
        project.git(&["add", "-A"]);
        project.git(&["commit", "-qm", "imports"]);
    }

    // The store goes on; a clone of either gets what was recorded, and both tools tell of the news.
    moto.put("d/a.txt", "another");
    moto.put("one", "2");
    let clone = theirs.clone_of_git();
    verbs::pull(&clone.repository(), &[], None, false, &Silent).unwrap();
    assert_eq!(["d/a.txt", "later/sub/ü b", "one"].map(|path| clone.read(path)), ["a", "bb", "1"]);
    let of_theirs = ours.clone_of_git();
    of_theirs.dvc(&["pull", "-q", "d.dvc", "one.dvc"]);
    assert_eq!(of_theirs.read("d/a.txt"), "a");
    let news = |file: &str| {
        let pointer = PointerFile::read(&clone.root(), file).unwrap().unwrap();
        let Some(Import::Url(import)) = &pointer.import else { panic!("{file} is no import from an address") };
        imports::news_of_url(&clone.repository(), import, &Silent).unwrap()
    };
    assert_eq!((news("d.dvc"), news("one.dvc")), (Some("modified"), Some("update available")));
    let told: serde_json::Value = serde_json::from_str(&clone.dvc(&["status", "--json"])).unwrap();
    assert_eq!(told["one.dvc"][0]["changed deps"]["s3://bucket/one"], "update available");
    assert_eq!(told["d.dvc"][0]["changed deps"]["s3://bucket/d"], "modified");

    let pointer = PointerFile::read(&clone.root(), "one.dvc").unwrap().unwrap();
    imports::update_url(&clone.repository(), &pointer, TakeUrl::Data, false, &Silent).unwrap();
    theirs.dvc(&["update", "one.dvc"]);
    assert_eq!(clone.read("one.dvc"), theirs.read("one.dvc"));
    assert_eq!((clone.read("one").as_str(), news("one.dvc")), ("2", None));
}

#[test]
fn an_import_by_version_needs_a_store_that_keeps_them() {
    let moto = Moto::start();
    moto.put("one", "1");
    let project = Project::ours();
    let root = project.root();
    let mut options = moto.options();
    options.push(("version_aware".to_owned(), "true".to_owned()));
    let import = |url: &str, options: &RemoteOptions, take: TakeUrl<'_>| {
        let origin = Origin { url, from: &root, options, jobs: None };
        imports::import_url(&project.repository(), &origin, Path::new("one"), take, false, &[], &Silent)
    };
    let error = import("s3://bucket/one", &options, TakeUrl::Data).unwrap_err();
    assert!(matches!(&error, Error::KeepsNoVersions { url } if url == "s3://bucket/one"), "{error}");
    let error = import("s3://bucket/one", &options, TakeUrl::ToRemote(ToRemote::default())).unwrap_err();
    assert!(matches!(error, Error::VersionToRemote { .. }), "{error}");
    let error = import("/etc/hostname", &vec![("version_aware".into(), "true".into())], TakeUrl::Data).unwrap_err();
    assert!(matches!(error, Error::KeepsNoVersions { .. }), "{error}");
    assert!(!root.join("one.dvc").exists());
}
