//! Which keys a configuration may have and what each must hold: the schema of DVC 3.67
//! (`dvc/config_schema.py`), its deprecated keys included, because DVC accepts them.

use crate::links::LinkType;

/// What a key must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that DVC turns into lower case.
    LowerCase,
    Bool,
    /// A number, 1 or more.
    Count,
    Integer,
    Number,
    /// A number, 0 or more; may have a fraction.
    Seconds,
    Percent,
    LinkTypes,
    /// Certificates are verified, or not, or against those in a file.
    BoolOrPath,
    OneOf(&'static [&'static str]),
    /// A key for which DVC refuses every value that a file can hold.
    Unusable,
}

use Kind::{Bool, BoolOrPath, Count, Integer, LinkTypes, LowerCase, Number, OneOf, Percent, Seconds, Text, Unusable};

type Keys = &'static [(&'static str, Kind)];

const CORE: Keys = &[
    ("remote", LowerCase),
    ("checksum_jobs", Count),
    ("interactive", Bool),
    ("analytics", Bool),
    ("hardlink_lock", Bool),
    ("no_scm", Bool),
    ("autostage", Bool),
    ("experiments", Bool),
    ("check_update", Bool),
    ("site_cache_dir", Text),
    ("machine", LowerCase),
];

const OF_A_LOCAL_STORE: Keys = &[
    ("type", LinkTypes),
    ("protected", Bool),
    ("shared", OneOf(&["group"])),
    ("slow_link_warning", Bool),
    ("verify", Bool),
];

const CACHE: Keys = &[
    ("dir", Text),
    ("local", Text),
    ("s3", Text),
    ("gs", Text),
    ("hdfs", Text),
    ("webhdfs", Text),
    ("ssh", Text),
    ("azure", Text),
];

const STATE: Keys = &[("dir", Text), ("row_limit", Count), ("row_cleanup_quota", Percent)];

const MACHINE: Keys = &[
    ("cloud", OneOf(&["aws", "azure"])),
    ("region", OneOf(&["us-west", "us-east", "eu-west", "eu-north"])),
    ("image", Text),
    ("spot", Bool),
    ("spot_price", Number),
    ("instance_hdd_size", Integer),
    ("instance_type", LowerCase),
    ("instance_gpu", LowerCase),
    ("ssh_private", Text),
    ("startup_script", Text),
    ("setup_script", Text),
];

const EXP: Keys = &[
    ("auto_push", Bool),
    ("git_remote", Text),
    ("code", Text),
    ("data", Text),
    ("models", Text),
    ("metrics", Text),
    ("params", Text),
    ("plots", Text),
    ("live", Text),
];

const HYDRA: Keys =
    &[("enabled", Bool), ("config_dir", Text), ("config_module", Text), ("config_name", Text), ("plugins_path", Text)];

const PARSING: Keys = &[("bool", OneOf(&["store_true", "boolean_optional"])), ("list", OneOf(&["nargs", "append"]))];
const PLOTS: Keys = &[("html_template", Text), ("auto_open", Bool), ("out_dir", Text)];
const STUDIO: Keys = &[("token", Text), ("url", Text), ("repo_url", Text), ("offline", Bool)];
const DB: Keys = &[("url", Text), ("username", Text), ("password", Text)];
const INDEX: Keys = &[("dir", Text)];
const FEATURE: Keys = &[("machine", Bool)];

const REMOTE: Keys = &[
    ("url", Text),
    ("checksum_jobs", Count),
    ("jobs", Count),
    ("worktree", Bool),
    ("no_traverse", Bool),
    ("version_aware", Bool),
];

const S3: Keys = &[
    ("region", Text),
    ("profile", Text),
    ("credentialpath", Text),
    ("configpath", Text),
    ("endpointurl", Text),
    ("access_key_id", Text),
    ("secret_access_key", Text),
    ("session_token", Text),
    ("listobjects", Bool),
    ("use_ssl", Bool),
    ("allow_anonymous_login", Bool),
    ("ssl_verify", BoolOrPath),
    ("sse", Text),
    ("sse_kms_key_id", Text),
    ("sse_customer_algorithm", Text),
    ("sse_customer_key", Text),
    ("acl", Text),
    ("grant_read", Text),
    ("grant_read_acp", Text),
    ("grant_write_acp", Text),
    ("grant_full_control", Text),
    ("cache_regions", Unusable),
    ("read_timeout", Integer),
    ("connect_timeout", Integer),
    ("verify", Bool),
];

const GS: Keys = &[
    ("projectname", Text),
    ("credentialpath", Text),
    ("endpointurl", Text),
    ("verify", Bool),
    ("allow_anonymous_login", Bool),
];

const AZURE: Keys = &[
    ("connection_string", Text),
    ("sas_token", Text),
    ("account_name", Text),
    ("account_key", Text),
    ("tenant_id", Text),
    ("client_id", Text),
    ("client_secret", Text),
    ("allow_anonymous_login", Bool),
    ("exclude_environment_credential", Bool),
    ("exclude_visual_studio_code_credential", Bool),
    ("exclude_shared_token_cache_credential", Bool),
    ("exclude_managed_identity_credential", Bool),
    ("verify", Bool),
    ("timeout", Integer),
    ("read_timeout", Integer),
    ("connection_timeout", Integer),
];

const SSH: Keys = &[
    ("type", LinkTypes),
    ("port", Integer),
    ("user", Text),
    ("password", Text),
    ("ask_password", Bool),
    ("passphrase", Text),
    ("ask_passphrase", Bool),
    ("keyfile", Text),
    ("timeout", Integer),
    ("gss_auth", Bool),
    ("allow_agent", Bool),
    ("max_sessions", Integer),
    ("verify", Bool),
];

const HTTP: Keys = &[
    ("auth", OneOf(&["basic", "digest", "custom"])),
    ("custom_auth_header", Text),
    ("user", Text),
    ("password", Text),
    ("ask_password", Bool),
    ("ssl_verify", BoolOrPath),
    ("method", Text),
    ("connect_timeout", Seconds),
    ("read_timeout", Seconds),
    ("verify", Bool),
];

const WEBDAV: Keys = &[
    ("user", Text),
    ("password", Text),
    ("ask_password", Bool),
    ("token", Text),
    ("bearer_token_command", Text),
    ("custom_auth_header", Text),
    ("cert_path", Text),
    ("key_path", Text),
    ("timeout", Integer),
    ("ssl_verify", BoolOrPath),
    ("verify", Bool),
];

const HDFS: Keys = &[("user", Text), ("kerb_ticket", Text), ("replication", Unusable)];

const WEBHDFS: Keys = &[
    ("kerberos", Bool),
    ("kerberos_principal", Text),
    ("proxy_to", Text),
    ("ssl_verify", BoolOrPath),
    ("token", Text),
    ("use_https", Bool),
    ("user", Text),
    ("password", Text),
    ("data_proxy_target", Text),
    ("verify", Bool),
];

const OSS: Keys = &[("oss_key_id", Text), ("oss_key_secret", Text), ("oss_endpoint", Text), ("verify", Bool)];

const GDRIVE: Keys = &[
    ("profile", Text),
    ("gdrive_use_service_account", Bool),
    ("gdrive_client_id", Text),
    ("gdrive_client_secret", Text),
    ("gdrive_user_credentials_file", Text),
    ("gdrive_service_account_user_email", Text),
    ("gdrive_service_account_json_file_path", Text),
    ("gdrive_trash_only", Bool),
    ("gdrive_acknowledge_abuse", Bool),
    ("verify", Bool),
];

/// Keys of remotes that hold a path, relative to the file they stand in.
const PATHS_OF_REMOTES: [&str; 8] = [
    "url",
    "gdrive_user_credentials_file",
    "gdrive_service_account_json_file_path",
    "credentialpath",
    "configpath",
    "keyfile",
    "cert_path",
    "key_path",
];

/// The keys of a section, in one or two tables; `None` for an unknown section. Those of a remote
/// depend on the scheme of its url.
pub(super) fn keys_of(section: &str, scheme: &str) -> Option<[Keys; 2]> {
    let kind = section.split_once(" \"").map_or(section, |(kind, _)| kind);
    Some(match kind {
        "core" => [CORE, &[]],
        "cache" => [CACHE, OF_A_LOCAL_STORE],
        "state" => [STATE, &[]],
        "index" => [INDEX, &[]],
        "feature" => [FEATURE, &[]],
        "plots" => [PLOTS, &[]],
        "exp" => [EXP, &[]],
        "parsing" => [PARSING, &[]],
        "hydra" => [HYDRA, &[]],
        "studio" => [STUDIO, &[]],
        "machine" if section != kind => [MACHINE, &[]],
        "db" if section != kind => [DB, &[]],
        "remote" if section != kind => [REMOTE, of_scheme(scheme)?],
        _ => return None,
    })
}

fn of_scheme(scheme: &str) -> Option<Keys> {
    Some(match scheme {
        "" => OF_A_LOCAL_STORE,
        "s3" => S3,
        "gs" => GS,
        "azure" => AZURE,
        "ssh" => SSH,
        "http" | "https" => HTTP,
        "webdav" | "webdavs" => WEBDAV,
        "hdfs" => HDFS,
        "webhdfs" => WEBHDFS,
        "oss" => OSS,
        "gdrive" => GDRIVE,
        _ => return None,
    })
}

/// The scheme of a remote's url, in lower case; empty for a folder, which is everything without a
/// host or bucket behind `://`.
pub(super) fn scheme(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let has_host = !rest.is_empty() && !rest.starts_with(['/', '?', '#']);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if has_host && is_scheme { scheme.to_lowercase() } else { String::new() }
}

/// True for keys that hold a path.
pub(super) fn is_path(section: &str, key: &str) -> bool {
    (section == "cache" && key == "dir")
        || (section.starts_with("remote \"") && PATHS_OF_REMOTES.contains(&key))
        || (section.starts_with("machine \"") && matches!(key, "startup_script" | "setup_script"))
}

/// Checks a value; a list is given with commas between.
///
/// # Errors
/// What would be right, to stand behind the name of the key: `must be true or false`.
pub(super) fn check(kind: Kind, text: &str, is_list: bool) -> Result<(), String> {
    let right = match kind {
        LinkTypes => return link_types(text),
        _ if is_list => return Err("must be one value; put it between quotes if it has a comma".into()),
        Text | LowerCase | BoolOrPath => return Ok(()),
        Bool if matches!(text.to_lowercase().as_str(), "true" | "false") => return Ok(()),
        Bool => "true or false".to_owned(),
        Count if text.trim().parse::<u64>().is_ok_and(|n| n >= 1) => return Ok(()),
        Count => "a number, 1 or more".to_owned(),
        Integer if text.trim().parse::<i64>().is_ok() => return Ok(()),
        Integer => "a whole number".to_owned(),
        Number if text.trim().parse::<f64>().is_ok() => return Ok(()),
        Number => "a number".to_owned(),
        Seconds if text.trim().parse::<f64>().is_ok_and(|n| n >= 0.0) => return Ok(()),
        Seconds => "a number of seconds, 0 or more".to_owned(),
        Percent if text.trim().parse::<u8>().is_ok_and(|n| n <= 100) => return Ok(()),
        Percent => "a number from 0 to 100".to_owned(),
        OneOf(words) if words.contains(&text.to_lowercase().as_str()) => return Ok(()),
        OneOf(words) => words.join(" or "),
        Unusable => return Err("cannot be set in a file: DVC refuses every value".into()),
    };
    Err(format!("must be {right}, found '{text}'"))
}

fn link_types(text: &str) -> Result<(), String> {
    for word in text.split(',').map(str::trim) {
        if LinkType::parse(word).is_none() {
            return Err(format!("must list reflink, hardlink, symlink or copy, found '{word}'"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_a_url_tells_the_kind_of_a_remote() {
        for (url, expected) in [
            ("S3://bucket/a", "s3"),
            ("/mnt/store", ""),
            ("../store", ""),
            ("s3:///a", ""),
            ("file:///a", ""),
            ("1x://host", ""),
            ("ftp://host", "ftp"),
        ] {
            assert_eq!(scheme(url), expected, "{url}");
        }
    }

    #[test]
    fn values_are_checked_by_kind() {
        for (kind, good, bad) in [
            (Bool, "True", "yes"),
            (Count, "4", "0"),
            (Integer, "-1", "1.5"),
            (Seconds, "1.5", "-1"),
            (Percent, "100", "101"),
            (LinkTypes, "reflink, copy", "teleport"),
            (OneOf(&["group"]), "Group", "all"),
            (Number, "0.1", "cheap"),
        ] {
            assert_eq!(check(kind, good, false), Ok(()), "{kind:?}");
            assert!(check(kind, bad, false).unwrap_err().contains("found"), "{kind:?}");
        }
        assert!(check(Unusable, "true", false).is_err());
        assert!(check(Text, "a,b", true).is_err());
        assert_eq!(check(LinkTypes, "hardlink,copy", true), Ok(()));
    }
}
