//! `AssumeRole` of AWS's token service.

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::Url;
use reqwest::blocking::Client;
use serde::Deserialize;

use super::CONNECT_TIMEOUT;

/// Where the service is when nothing names a region.
const REGION: &str = "us-east-1";

/// How much of a refusal is shown.
const DETAIL_CHARS: usize = 300;

/// What is assumed, as the profile says.
pub(super) struct Role<'a> {
    pub(super) arn: &'a str,
    pub(super) session: Option<&'a str>,
    pub(super) external_id: Option<&'a str>,
    pub(super) seconds: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    /// Instead of AWS's own.
    pub(super) endpoint: Option<String>,
}

/// The role's keys, asked for by whoever signs.
pub(super) fn keys(role: &Role<'_>, signer: &AwsCredential) -> Result<AwsCredential, String> {
    let region = role.region.unwrap_or(REGION);
    let own = || format!("https://sts.{region}.amazonaws.com/");
    let mut url = Url::parse(&role.endpoint.clone().unwrap_or_else(own)).map_err(|error| error.to_string())?;
    url.query_pairs_mut()
        .append_pair("Action", "AssumeRole")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", role.arn)
        .append_pair("RoleSessionName", role.session.unwrap_or("towpath"));
    for (name, value) in [("ExternalId", role.external_id), ("DurationSeconds", role.seconds)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let mut signed = HttpRequest::new(HttpRequestBody::empty());
    *signed.uri_mut() = url.as_str().parse().map_err(|_| format!("{url} is no address"))?;
    AwsAuthorizer::new(signer, "sts", region)
        .try_authorize(&mut signed, None)
        .map_err(|error| format!("the request cannot be signed: {error}"))?;

    let client = Client::builder().timeout(CONNECT_TIMEOUT).build().map_err(|error| error.to_string())?;
    let answer = client.get(url).headers(signed.headers().clone()).send().map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {}", text.chars().take(DETAIL_CHARS).collect::<String>()));
    }
    read(&text)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    assume_role_result: Assumed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Keys,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

fn read(text: &str) -> Result<AwsCredential, String> {
    let answer: Answer = quick_xml::de::from_str(text).map_err(|error| format!("the answer is malformed: {error}"))?;
    let Keys { access_key_id, secret_access_key, session_token } = answer.assume_role_result.credentials;
    Ok(AwsCredential { key_id: access_key_id, secret_key: secret_access_key, token: Some(session_token) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_read_from_the_answer() {
        let text = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
            <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser>
            <Credentials><AccessKeyId>i</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
            <Expiration>2026-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"#;
        let keys = read(text).unwrap();
        assert_eq!((keys.key_id.as_str(), keys.secret_key.as_str(), keys.token.as_deref()), ("i", "s", Some("t")));
        assert!(read("<html/>").unwrap_err().starts_with("the answer is malformed"));
    }
}
