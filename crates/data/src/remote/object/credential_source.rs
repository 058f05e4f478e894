//! Keys that something else than a profile has: the environment, a container, the machine. What
//! `credential_source` of a profile names (AWS SDKs and Tools, "Assume role credential provider").

use std::fs;
use std::time::Duration;

use object_store::aws::AwsCredential;
use reqwest::blocking::{Client, RequestBuilder};
use serde::Deserialize;

/// Where a machine of EC2 asks about itself, and a container of ECS for its keys.
const MACHINE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";

const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the machine's token is good, in seconds.
const TOKEN_SECONDS: &str = "21600";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

/// The keys of a `credential_source`. `setting` finds variables of the environment, and, by lower-case
/// names without `AWS_`, settings of the profile.
pub(super) fn keys(source: &str, setting: &dyn Fn(&str) -> Option<String>) -> Result<AwsCredential, String> {
    match source {
        "Environment" => of_environment(setting),
        "EcsContainer" => of_container(setting),
        "Ec2InstanceMetadata" => of_machine(setting),
        _ => Err(format!("credential_source is Environment, EcsContainer or Ec2InstanceMetadata, found '{source}'")),
    }
}

fn of_environment(setting: &dyn Fn(&str) -> Option<String>) -> Result<AwsCredential, String> {
    let needed = |name: &str| setting(name).ok_or_else(|| format!("credential_source: {name} is not set"));
    Ok(AwsCredential {
        key_id: needed("AWS_ACCESS_KEY_ID")?,
        secret_key: needed("AWS_SECRET_ACCESS_KEY")?,
        token: setting("AWS_SESSION_TOKEN"),
    })
}

fn of_container(setting: &dyn Fn(&str) -> Option<String>) -> Result<AwsCredential, String> {
    let relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
    let address = relative.or_else(|| setting("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    let address = address.ok_or("credential_source: this is no container that has keys")?;
    let of_file = || fs::read_to_string(setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?).ok();
    let token = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN").or_else(of_file);
    let mut request = client()?.get(address);
    if let Some(token) = token {
        request = request.header("Authorization", token.trim());
    }
    read(&text(request)?)
}

/// With a token first, as the second version of the service wants it.
fn of_machine(setting: &dyn Fn(&str) -> Option<String>) -> Result<AwsCredential, String> {
    let disabled = setting("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if disabled {
        return Err("credential_source: AWS_EC2_METADATA_DISABLED is true".to_owned());
    }
    let base = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT").or_else(|| setting("ec2_metadata_service_endpoint"));
    let base = base.unwrap_or_else(|| MACHINE.to_owned());
    let base = base.trim_end_matches('/');
    let client = client()?;
    let token = client.put(format!("{base}/latest/api/token"));
    let token = text(token.header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS))?;
    let ask = |below: &str| {
        let request = client.get(format!("{base}/latest/meta-data/iam/security-credentials/{below}"));
        text(request.header("X-aws-ec2-metadata-token", token.trim()))
    };
    let roles = ask("")?;
    let role = roles.lines().next().unwrap_or_default().trim();
    if role.is_empty() {
        return Err("credential_source: the machine has no role".to_owned());
    }
    read(&ask(role)?)
}

fn client() -> Result<Client, String> {
    // The first one installed in a process stays: then this is without effect.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())
}

fn text(request: RequestBuilder) -> Result<String, String> {
    let answer = request.send().and_then(|answer| answer.error_for_status()).and_then(|answer| answer.text());
    answer.map_err(|error| format!("credential_source: {error}"))
}

fn read(answer: &str) -> Result<AwsCredential, String> {
    let keys: Keys = serde_json::from_str(answer).map_err(|error| format!("credential_source: {error}"))?;
    Ok(AwsCredential { key_id: keys.access_key_id, secret_key: keys.secret_access_key, token: keys.token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_keys_or_says_which_variable_is_missing() {
        let setting = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
            _ => None,
        };
        let found = keys("Environment", &setting).unwrap();
        assert_eq!((found.key_id.as_str(), found.secret_key.as_str(), found.token), ("id", "secret", None));
        let error = keys("Environment", &|_| None).err().unwrap();
        assert_eq!(error, "credential_source: AWS_ACCESS_KEY_ID is not set");
        let error = keys("Elsewhere", &|_| None).err().unwrap();
        assert!(error.contains("found 'Elsewhere'"), "{error}");
    }

    #[test]
    fn a_container_tells_its_keys_to_who_has_the_token() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            use std::io::{BufRead as _, Write as _};
            let (mut stream, _) = listener.accept().unwrap();
            let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let body = r#"{"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c"}"#;
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            head
        });
        let setting = |name: &str| match name {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some(address.clone()),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN" => Some("let me in\n".to_owned()),
            _ => None,
        };
        let found = keys("EcsContainer", &setting).unwrap();
        assert_eq!((found.key_id.as_str(), found.token.as_deref()), ("a", Some("c")));
        let head = asked.join().unwrap();
        assert_eq!(head[0], "GET /keys HTTP/1.1");
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: let me in")), "{head:?}");
        assert!(keys("EcsContainer", &|_| None).err().unwrap().contains("no container"));
    }
}
