//! `POST /graphql`: an operation by its name, its variables, and an answer that has at least the fields
//! that the client selects.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::Caller;
use crate::{ApiError, address, artifacts, history, lookup, runs};

#[derive(Deserialize)]
struct Request {
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default, rename = "operationName")]
    operation: Option<String>,
}

/// The variables of an operation, or an object among them.
#[derive(Clone, Debug)]
pub(crate) struct Variables(Map<String, Value>);

impl Variables {
    /// `None` for what is null or missing.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= crate::REQUEST => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::invalid(format!("variable '{name}' is not a text"))),
        }
    }

    pub(crate) fn required(&self, name: &str) -> Result<String, ApiError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| ApiError::invalid(format!("variable '{name}' is missing")))
    }

    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(ApiError::invalid(format!("variable '{name}' is not an integer"))),
            },
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(ApiError::invalid(format!("variable '{name}' is not true or false"))),
        }
    }

    /// The object `input`, as some callers wrap what they say.
    pub(crate) fn input(&self) -> Self {
        match self.0.get("input") {
            Some(Value::Object(inner)) => Self(inner.clone()),
            _ => self.clone(),
        }
    }

    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, ApiError> {
        let wrong = || ApiError::invalid(format!("variable '{name}' is not a list of objects"));
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_object().cloned().map(Self).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// One field of each object in a list.
    pub(crate) fn texts_of(&self, name: &str, field: &str) -> Result<Vec<String>, ApiError> {
        self.objects(name)?.iter().map(|object| object.required(field)).collect()
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let wrong = || ApiError::invalid(format!("variable '{name}' is not a list of texts"));
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(|i| i.as_str().map(str::to_owned)).collect();
                texts.map(Some).ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }
}

pub(crate) async fn answer(
    State(state): State<crate::State>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    let body = body.map_err(|e| ApiError::invalid(e.body_text()))?;
    let request: Request =
        serde_json::from_slice(&body).map_err(|e| ApiError::invalid(format!("this is no GraphQL request: {e}")))?;
    let declared = operation(&request.query)
        .ok_or_else(|| ApiError::invalid("the query is not one GraphQL operation with a name"))?;
    if request.operation.as_deref().is_some_and(|name| !name.is_empty() && name != declared) {
        return Err(ApiError::invalid(format!(
            "the query has the operation '{declared}', not the one that is asked for"
        )));
    }
    let variables = Variables(request.variables.unwrap_or_default());
    let data = match declared {
        "Viewer" | "GetViewer" | "GetDefaultEntity" => viewer(&caller),
        "ServerFeaturesQuery" => json!({"serverInfo": {"features": []}}),
        "OrganizationCoreWeaveOrganizationID" => json!({"entity": {"organization": null}}),
        "UpsertBucket" => runs::upsert(&state, caller, &variables).await?,
        "RunResumeStatus" => runs::resume_status(&state, caller, &variables).await?,
        "RunState" | "QueryRunInfo" | "Run" => lookup::run(&state, &caller, &variables).await?,
        "Runs" => lookup::runs(&state, &variables).await?,
        "RunFiles" => lookup::files(&state, &caller, &address::origin(&headers)?, &variables).await?,
        "RunHistoryKeys" => lookup::history_keys(&state, &caller, &variables).await?,
        "RunFullHistory" | "HistoryPage" => history::page(&state, &caller, &variables).await?,
        "RunSampledHistory" | "SampledHistoryPage" => history::sampled(&state, &caller, &variables).await?,
        // Nothing is exported as Parquet: all of the history comes in pages.
        "RunParquetHistory" => json!({"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}),
        "DeleteRun" => lookup::delete(&state, &caller, &variables).await?,
        "GetProject" => lookup::project(&state, &caller, &variables).await?,
        "GetProjects" => lookup::projects(&state, &caller).await?,
        "CreateRunFiles" => runs::create_files(&state, caller, &address::origin(&headers)?, &variables).await?,
        // They are there when their upload was answered.
        "MarkRunFilesUploaded" => json!({"markRunFilesUploaded": {"success": true}}),
        "NotifyScriptableRunAlert" => runs::alert(&state, caller, &variables).await?,
        operation => match artifacts::answer(&state, &caller, &headers, operation, &variables).await {
            Some(answer) => answer?,
            None => return Err(not_there(operation)),
        },
    };
    Ok(Json(json!({"data": data})))
}

fn not_there(operation: &str) -> ApiError {
    ApiError::invalid(format!(
        "Towpath does not answer the operation '{}' of Weights & Biases (docs/wandb.md lists what it does)",
        operation.chars().take(100).collect::<String>()
    ))
}

fn viewer(caller: &Caller) -> Value {
    let entity = caller.entity();
    json!({"viewer": {
        "id": entity, "entity": entity, "username": entity, "name": entity, "email": null, "admin": false,
        "flags": null, "deletedAt": null, "apiKeys": {"edges": []}, "teams": {"edges": []},
    }})
}

/// The name of the first operation of a document whose brackets match.
fn operation(query: &str) -> Option<&str> {
    let mut text = query.trim_start();
    while text.starts_with('#') {
        text = text.split_once('\n')?.1.trim_start();
    }
    let rest = text.strip_prefix("query").or_else(|| text.strip_prefix("mutation"))?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (mut open, mut in_text, mut escaped, mut selections) = (Vec::new(), false, false, 0);
    for c in rest[end..].chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => in_text = true,
            '{' | '(' | '[' => {
                selections += usize::from(c == '{');
                open.push(c);
            }
            '}' | ')' | ']' => {
                let opened = match c {
                    '}' => '{',
                    ')' => '(',
                    _ => '[',
                };
                if open.pop() != Some(opened) {
                    return None;
                }
            }
            _ => {}
        }
    }
    (end > 0 && open.is_empty() && !in_text && selections > 0).then_some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_a_name_and_brackets_that_match() {
        assert_eq!(operation("\nquery Viewer {\n viewer { id } }"), Some("Viewer"));
        assert_eq!(operation("#graphql\n  query Runs($a: Int = 50) { a }"), Some("Runs"));
        assert_eq!(operation("mutation A ($x: [S!] = \"}\\\"\") { a(b: {c:$x}) { d } }"), Some("A"));
        for bad in [
            "",
            "#",
            "query",
            "query {a}",
            "query A",
            "query A {",
            "query A { b } }",
            "query A ({)}",
            "{a}",
            "query A {\"}",
        ] {
            assert_eq!(operation(bad), None, "{bad:?}");
        }
    }
}
