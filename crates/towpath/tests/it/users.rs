use serde_json::{Value, json};

use crate::program::Home;

/// The owner of a data directory needs no server.
#[test]
fn the_owner_of_a_data_directory_makes_users_and_tokens() {
    let home = Home::new();
    let said = home.ok(&["user", "add", "alice", "--email", "Alice@example.org", "--admin", "--data-dir", "data"]);
    assert_eq!(said, "User alice, an admin. Next: towpath token create --user alice\n");
    let create =
        ["token", "create", "--user", "alice", "--role", "risk", "--lifetime", "90d", "--data-dir", "data", "--json"];
    let token: Value = serde_json::from_str(&home.ok(&create)).unwrap();
    assert!(token["secret"].as_str().unwrap().starts_with("tp_"));
    let lifetime = token["expires_at"].as_i64().unwrap() - token["created_at"].as_i64().unwrap();
    assert_eq!((&token["roles"], lifetime), (&json!(["risk"]), 90 * 86_400_000));

    let users: Value = serde_json::from_str(&home.ok(&["user", "ls", "--data-dir", "data", "--json"])).unwrap();
    assert_eq!((&users[0]["emails"], &users[0]["roles"]), (&json!(["alice@example.org"]), &json!(["risk"])));
    let listed = home.ok(&["token", "ls", "--data-dir", "data"]);
    assert!(listed.contains("alice") && !listed.contains("tp_"), "{listed}");
    home.ok(&["token", "revoke", token["id"].as_str().unwrap(), "--data-dir", "data"]);
    assert_eq!(home.ok(&["token", "ls", "--data-dir", "data"]).lines().count(), 1, "the header is left");
}

#[test]
fn refusals_say_what_is_missing() {
    let home = Home::new();
    let (code, said) = home.fails(&["token", "create", "--user", "bob", "--data-dir", "data"]);
    assert_eq!(code, 3);
    assert_eq!(said, "error: there is no user 'bob'\nhint: add them with: towpath user add bob\n");
    home.ok(&["user", "add", "bob", "--data-dir", "data"]);
    assert_eq!(home.fails(&["user", "add", "bob", "--data-dir", "data"]).0, 5);
    assert_eq!(home.fails(&["token", "create", "--user", "bob", "--lifetime", "soon"]).0, 2);
}

#[test]
fn a_data_directory_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.ok(&["user", "add", "alice", "--data-dir", "data"]);
    let mode = std::fs::metadata(home.path("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
