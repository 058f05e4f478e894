//! Where boto3 finds credentials: the remote's options, the environment, the files of `~/.aws`
//! (keys, `credential_process`, single sign-on, web identity, roles assumed from another profile), the
//! machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use object_store::aws::AwsCredential;
use reqwest::Url;
use reqwest::blocking::Client;
use serde_json::Value;

use super::assume_role::{self, Role};
use super::credential_source;
use crate::config::RemoteConfig;
use crate::remote::command::output_of;
use crate::{Error, files};

const SIGN_ON_TIMEOUT: Duration = Duration::from_secs(30);

/// How requests are signed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Anonymous,
    Keys {
        id: String,
        secret: String,
        token: Option<String>,
    },
    WebIdentity {
        role: String,
        token_file: String,
    },
    /// A container's or the machine's account, if it has one.
    OfTheMachine,
}

/// The chosen section of `~/.aws/credentials` and of `~/.aws/config`.
pub(super) struct Profile {
    name: String,
    /// Named by the remote, so that it counts more than the environment.
    chosen: bool,
    settings: BTreeMap<String, String>,
    /// Of the `[sso-session]` that the profile names.
    session: BTreeMap<String, String>,
    sign_on_cache: Option<PathBuf>,
    /// The profiles whose roles are assumed with this one.
    assumed_by: Vec<String>,
    /// Its own role is not assumed: its keys are wanted.
    assumed_from_itself: bool,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl Profile {
    pub(super) fn of(config: &RemoteConfig) -> Result<Self, Error> {
        let chosen = config.text("profile").map(str::to_owned);
        let default = || variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        let name = chosen.clone().or_else(default).unwrap_or_else(|| "default".into());
        Self::named(name, chosen.is_some(), config)
    }

    /// `chosen`: it must be there.
    fn named(name: String, chosen: bool, config: &RemoteConfig) -> Result<Self, Error> {
        let aws = env::home_dir().map(|home| home.join(".aws"));
        let place = |name: &str, option: &str, default: &str| {
            let set = variable(name).map(PathBuf::from).or_else(|| config.path(option));
            set.or_else(|| aws.as_ref().map(|aws| aws.join(default)))
        };
        let configuration = sections(place("AWS_CONFIG_FILE", "configpath", "config").as_deref())?;
        let credentials = sections(place("AWS_SHARED_CREDENTIALS_FILE", "credentialpath", "credentials").as_deref())?;
        let headed = if name == "default" { name.clone() } else { format!("profile {name}") };
        let mut settings = configuration.get(&headed).cloned().unwrap_or_default();
        settings.extend(credentials.get(&name).cloned().unwrap_or_default());
        if chosen && settings.is_empty() {
            return Err(config.bad(format!("there is no profile '{name}' in the files of AWS")));
        }
        let session = settings.get("sso_session").and_then(|name| configuration.get(&format!("sso-session {name}")));
        Ok(Self {
            name,
            chosen,
            session: session.cloned().unwrap_or_default(),
            settings,
            sign_on_cache: aws.map(|aws| aws.join("sso/cache")),
            assumed_by: Vec::new(),
            assumed_from_itself: false,
        })
    }

    pub(super) fn setting(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }

    pub(super) fn credentials(&self, config: &RemoteConfig) -> Result<Credentials, Error> {
        if config.flag("allow_anonymous_login") == Some(true) {
            return Ok(Credentials::Anonymous);
        }
        let option = |key: &str| config.text(key).map(str::to_owned);
        if let Some(keys) = keys(option, ["access_key_id", "secret_access_key", "session_token"]) {
            return Ok(keys);
        }
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        if let Some(keys) = keys(variable, names).filter(|_| !self.chosen) {
            return Ok(keys);
        }
        let identity = |role: Option<String>, file: Option<String>| {
            Some(Credentials::WebIdentity { role: role?, token_file: file? })
        };
        let of_environment = identity(variable("AWS_ROLE_ARN"), variable("AWS_WEB_IDENTITY_TOKEN_FILE"));
        if let Some(identity) = of_environment.filter(|_| !self.chosen) {
            return Ok(identity);
        }
        self.credentials_of_files(config)
    }

    /// What the profile itself has, or else the machine.
    fn credentials_of_files(&self, config: &RemoteConfig) -> Result<Credentials, Error> {
        let of_file = (self.setting("role_arn"), self.setting("web_identity_token_file"));
        if let (Some(role), Some(token_file)) = of_file {
            return Ok(Credentials::WebIdentity { role, token_file });
        }
        if let Some(arn) = self.settings.get("role_arn").filter(|_| !self.assumed_from_itself) {
            return self.assume(arn, config);
        }
        let of_file = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
        if let Some(keys) = keys(|key| self.setting(key), of_file) {
            return Ok(keys);
        }
        if let Some(command) = self.setting("credential_process") {
            return process(&command).map_err(|problem| config.bad(format!("credential_process: {problem}")));
        }
        if self.settings.contains_key("sso_account_id") {
            return self.sign_on().map_err(|problem| {
                config.bad(format!("single sign-on: {problem}; run `aws sso login --profile {}`", self.name))
            });
        }
        Ok(Credentials::OfTheMachine)
    }

    /// Keys of the role that the profile assumes, with the credentials of its `source_profile` or
    /// `credential_source`.
    fn assume(&self, arn: &str, config: &RemoteConfig) -> Result<Credentials, Error> {
        let bad = |problem: &str| config.bad(format!("profile '{}' assumes {arn}: {problem}", self.name));
        let signer = match (self.settings.get("source_profile"), self.settings.get("credential_source")) {
            (Some(name), None) => self.keys_of_profile(name, config, &bad)?,
            (None, Some(source)) => {
                let setting = |name: &str| variable(name).or_else(|| self.setting(name));
                credential_source::keys(source, &setting).map_err(|problem| bad(&problem))?
            }
            (None, None) => return Err(bad("it needs a source_profile or a credential_source")),
            (Some(_), Some(_)) => return Err(bad("it has both a source_profile and a credential_source")),
        };
        let region = config.text("region").map(str::to_owned).or_else(|| self.setting("region"));
        let region = region.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let endpoint = variable("AWS_ENDPOINT_URL_STS").or_else(|| variable("AWS_ENDPOINT_URL"));
        let role = Role {
            arn,
            session: self.settings.get("role_session_name").map(String::as_str),
            external_id: self.settings.get("external_id").map(String::as_str),
            seconds: self.settings.get("duration_seconds").map(String::as_str),
            region: region.as_deref(),
            endpoint: endpoint.or_else(|| self.setting("endpoint_url")),
        };
        let keys = assume_role::keys(&role, &signer).map_err(|problem| bad(&problem))?;
        Ok(Credentials::Keys { id: keys.key_id, secret: keys.secret_key, token: keys.token })
    }

    /// Those that sign for a role of this profile.
    fn keys_of_profile(
        &self,
        name: &String,
        config: &RemoteConfig,
        bad: &dyn Fn(&str) -> Error,
    ) -> Result<AwsCredential, Error> {
        if self.assumed_by.contains(name) {
            return Err(bad(&format!("'{name}' is assumed from itself")));
        }
        let mut source = Self::named(name.clone(), true, config)?;
        // A profile may name itself: then its own keys sign.
        source.assumed_from_itself = *name == self.name;
        source.assumed_by = self.assumed_by.iter().chain([&self.name]).filter(|by| *by != name).cloned().collect();
        let Credentials::Keys { id, secret, token } = source.credentials_of_files(config)? else {
            return Err(bad(&format!("profile '{name}' has no keys")));
        };
        Ok(AwsCredential { key_id: id, secret_key: secret, token })
    }

    /// Keys for the token that `aws sso login` left.
    fn sign_on(&self) -> Result<Credentials, String> {
        let setting = |key: &str| self.session.get(key).or_else(|| self.settings.get(key)).map(String::as_str);
        let needed = |key: &'static str| setting(key).ok_or(format!("the profile has no {key}"));
        let (start, region) = (needed("sso_start_url")?, needed("sso_region")?);
        if !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(format!("sso_region '{region}' is none"));
        }
        let token = self.sign_on_cache.as_deref().and_then(|cache| token_for(cache, start));
        let token = token.ok_or("nobody is signed on")?;
        let client = Client::builder().timeout(SIGN_ON_TIMEOUT).build().map_err(|error| error.to_string())?;
        let portal = format!("https://portal.sso.{region}.amazonaws.com/federation/credentials");
        let parameters = [("account_id", needed("sso_account_id")?), ("role_name", needed("sso_role_name")?)];
        let url = Url::parse_with_params(&portal, parameters).map_err(|error| error.to_string())?;
        let request = client.get(url).header("x-amz-sso_bearer_token", token);
        let answer = request.send().and_then(|answer| answer.error_for_status()).and_then(|answer| answer.json());
        let answer: Value = answer.map_err(|error| error.to_string())?;
        let key = |name: &str| answer["roleCredentials"][name].as_str().map(str::to_owned);
        keys(key, ["accessKeyId", "secretAccessKey", "sessionToken"]).ok_or_else(|| "no keys in the answer".into())
    }
}

/// By the names that the id, the secret and the token have at some source.
fn keys(find: impl Fn(&str) -> Option<String>, [id, secret, token]: [&str; 3]) -> Option<Credentials> {
    Some(Credentials::Keys { id: find(id)?, secret: find(secret)?, token: find(token) })
}

/// Of the files that `aws sso login` wrote: botocore names them by hashes of what is in them.
fn token_for(cache: &Path, start_url: &str) -> Option<String> {
    let files = fs::read_dir(cache).ok()?.flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let found = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
    let mut tokens: Vec<(String, String)> = found
        .filter(|value| value["startUrl"].as_str() == Some(start_url))
        .filter_map(|value| Some((value["expiresAt"].as_str()?.to_owned(), value["accessToken"].as_str()?.to_owned())))
        .collect();
    // ISO times sort as they follow each other; the portal refuses one that is over.
    tokens.sort();
    tokens.pop().map(|(_, token)| token)
}

/// The protocol of `credential_process`: JSON on the standard output.
fn process(command: &str) -> Result<Credentials, String> {
    let answer: Value = serde_json::from_str(&output_of(command)?).map_err(|error| error.to_string())?;
    let key = |name: &str| answer[name].as_str().map(str::to_owned);
    keys(key, ["AccessKeyId", "SecretAccessKey", "SessionToken"]).ok_or_else(|| "no keys in its answer".into())
}

/// The sections of an AWS file; nested settings (`s3 =` and below) are left out.
fn sections(path: Option<&Path>) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let text = path.map(files::read_text).transpose()?.flatten().unwrap_or_default();
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = name.split_whitespace().collect::<Vec<_>>().join(" ").replace(['"', '\''], "");
        } else if let Some((key, value)) = line.split_once('=') {
            let section = sections.entry(current.clone()).or_default();
            section.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(settings: &[(&str, &str)]) -> Profile {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Profile {
            name: "p".into(),
            chosen: true,
            settings,
            session: BTreeMap::new(),
            sign_on_cache: None,
            assumed_by: Vec::new(),
            assumed_from_itself: false,
        }
    }

    #[test]
    fn the_files_of_aws_are_read_by_section() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let text = "[default]\nregion = eu-west-1 \ns3 =\n  max_concurrent_requests = 5\n# x = y\n[profile \"my one\"]\nAWS_ACCESS_KEY_ID=a=b\n[sso-session s]\nsso_region=us-east-1\n";
        fs::write(&path, text).unwrap();
        let read = sections(Some(&path)).unwrap();
        assert_eq!(read["default"]["region"], "eu-west-1");
        assert!(!read["default"].contains_key("max_concurrent_requests"));
        assert_eq!(read["profile my one"]["aws_access_key_id"], "a=b");
        assert_eq!(read["sso-session s"]["sso_region"], "us-east-1");
        assert!(sections(Some(&dir.path().join("none"))).unwrap().is_empty());
    }

    #[test]
    fn a_process_may_tell_the_keys() {
        let told = process(r#"echo '{"Version": 1, "AccessKeyId": "i", "SecretAccessKey": "s"}'"#).ok().unwrap();
        assert!(told == Credentials::Keys { id: "i".into(), secret: "s".into(), token: None });
        assert!(process("echo broken >&2; exit 3").err().unwrap().contains("broken"));
    }

    #[test]
    fn the_latest_token_of_a_start_url_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for (name, url, until, token) in
            [("a", "u", "2026-01-01", "old"), ("b", "u", "2026-02-01", "new"), ("c", "v", "2027-01-01", "other")]
        {
            let text = format!(r#"{{"startUrl": "{url}", "expiresAt": "{until}", "accessToken": "{token}"}}"#);
            fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(token_for(dir.path(), "u").as_deref(), Some("new"));
        assert_eq!(token_for(dir.path(), "w"), None);
        assert!(profile(&[("sso_start_url", "u")]).sign_on().err().unwrap().contains("sso_region"));
    }
}
