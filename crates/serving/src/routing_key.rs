//! What keeps a caller with the same revision, by the rule of a rollout.

use axum::http::{HeaderMap, HeaderValue, header};
use towpath_core::project::RoutingKey;

use crate::protocol::json_tensor::Nested;
use crate::revision::LoadedRevision;
use crate::router::Route;
use crate::tensor::Tensor;

/// The key of a request; `None` of one that has it not, which is then routed at random.
pub(crate) fn find(
    rule: &RoutingKey,
    headers: &HeaderMap,
    route: &Route,
    read: impl Fn(&LoadedRevision) -> Option<Vec<Tensor>>,
) -> Option<Vec<u8>> {
    match rule {
        RoutingKey::Header(name) => headers.get(name).map(|value| value.as_bytes().to_vec()),
        RoutingKey::Cookie(name) => cookie(headers, name).map(<[u8]>::to_vec),
        RoutingKey::Field(name) => {
            let stable = route.stable.as_ref()?;
            field(stable, &read(stable)?, name)
        }
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::to_str).filter_map(Result::ok);
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes())
}

/// An input's first row, or its cell when one input holds the columns of the signature.
fn field(revision: &LoadedRevision, inputs: &[Tensor], name: &str) -> Option<Vec<u8>> {
    let named = revision.runtime.inputs().iter().position(|spec| spec.name == name);
    let (tensor, shape, from) = match (named, inputs) {
        (Some(at), inputs) => {
            let tensor = inputs.get(at)?;
            (tensor, tensor.shape.get(1..).unwrap_or_default(), 0)
        }
        (None, [tensor]) if tensor.shape.last() == Some(&revision.columns.len()) => {
            (tensor, &[][..], revision.columns.iter().position(|column| column.name == name)?)
        }
        _ => return None,
    };
    let there = from + shape.iter().product::<usize>() <= tensor.data.len() && !tensor.data.is_empty();
    there.then(|| serde_json::to_vec(&Nested { shape, data: &tensor.data, from }).ok()).flatten()
}
