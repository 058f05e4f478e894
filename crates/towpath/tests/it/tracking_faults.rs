//! What tracking does when it cannot write.

use std::net::TcpListener;

use crate::data_faults::in_namespace;
use crate::program::Home;

#[test]
fn a_full_disk_under_the_database_is_said_and_no_acknowledged_point_is_lost() {
    let home = Home::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let python = towpath_testkit::python::program("python").unwrap().canonicalize().unwrap();
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/log_until_full.py");
    let script = format!(
        "
        mount -t tmpfs -o size=14m tmpfs .
        cd \"$PWD\"
        head -c 4000000 /dev/zero > ballast
        serve() {{ TOWPATH server --listen 127.0.0.1:{port} --data-dir data 2>/dev/null >/dev/null & server=$!; }}
        serve
        {python} {client} 127.0.0.1:{port}
        kill -9 $server
        wait $server || true
        serve
        export TOWPATH_SERVER=http://127.0.0.1:{port}
        for i in 1 2 3 4 5 6 7 8 9 10; do TOWPATH audit verify && break; sleep 0.5; done
        kill $server
        wait $server || true",
        python = python.display()
    );
    let (code, said) = in_namespace(&home, &script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the disk is full") && said.contains("The ledger is intact"), "{said}");
}
