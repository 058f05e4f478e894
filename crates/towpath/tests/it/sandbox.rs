//! How stages are confined, as a stage sees it.

use crate::program::{Home, text};

/// What a stage with this policy finds out by a script; by line.
fn stage(policy: &str, script: &str) -> Result<Vec<String>, String> {
    let home = Home::repository();
    home.write("look.sh", script);
    home.write("dvc.yaml", "stages:\n  look:\n    cmd: sh look.sh > found\n    deps: [look.sh]\n    outs: [found]\n");
    home.write("towpath.yaml", &format!("stages:\n  look: {policy}\n"));
    let output = home.run(&["repro"]);
    if !output.status.success() {
        return Err(format!("{}{}", text(&output.stdout), text(&output.stderr)));
    }
    Ok(home.read("found").lines().map(str::to_owned).collect())
}

#[test]
fn a_strict_stage_sees_its_own_processes_only_and_has_no_privileges() {
    let script = "ls /proc | grep -c '^[0-9]'
grep -h ^CapEff /proc/self/status | tr -d '\\t'
mount -t tmpfs x /mnt 2> /dev/null || echo no mounts
unshare --user true 2> /dev/null || echo no namespaces
test -z \"$(ls /var/tmp)\" && echo an empty /var/tmp
";
    let found = stage("{sandbox: strict}", script).unwrap();
    assert!(found[0].parse::<u32>().unwrap() < 8, "{found:?}");
    assert_eq!(found[1..], ["CapEff:0000000000000000", "no mounts", "no namespaces", "an empty /var/tmp"]);
}

#[test]
fn a_strict_stage_talks_to_itself_and_to_nobody_else() {
    let script = "python3 - << 'END'
import socket
own = socket.create_server(('127.0.0.1', 0))
socket.create_connection(own.getsockname())
print('own')
try:
    socket.create_connection(('192.0.2.1', 80), timeout=5)
except OSError as error:
    print(error.strerror)
END
";
    assert_eq!(stage("{sandbox: strict}", script).unwrap(), ["own", "Network is unreachable"]);
}

#[test]
fn the_exit_code_of_a_strict_stage_is_that_of_its_command_and_its_daemons_end_with_it() {
    let failed = stage("{sandbox: strict}", "setsid sleep 987654 & exit 7").unwrap_err();
    assert!(failed.contains("stage 'look' exited with 7"), "{failed}");
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 98765[4]"]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", text(&left.stdout));
}

#[test]
fn a_strict_stage_that_takes_too_long_may_still_clean_up() {
    let home = Home::repository();
    home.write("look.sh", "trap 'echo cleaned up; exit 1' TERM\nsleep 60 &\nwait\n");
    home.write("dvc.yaml", "stages:\n  look:\n    cmd: sh look.sh\n    deps: [look.sh]\n");
    home.write("towpath.yaml", "stages:\n  look: {sandbox: strict}\ntimeouts: {look: 1s}\n");
    let output = home.run(&["repro"]);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(said.contains("cleaned up") && said.contains("did not end within 1 s"), "{said}");
}

#[test]
fn limits_hold_for_each_process_of_a_stage() {
    let limits = "{limits: {open_files: 77, file_size: 1MB, cpu: 30s}}";
    assert_eq!(stage(limits, "ulimit -n; ulimit -t; ulimit -f").unwrap(), ["77", "30", "1953"]);
    let failed = stage(limits, "head -c 2000000 /dev/zero > found").unwrap_err();
    assert!(failed.contains("stage 'look'"), "{failed}");
}
