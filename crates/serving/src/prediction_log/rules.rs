//! What the log keeps of a prediction, by the rules of its environment.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};
use towpath_core::project::LogPolicy;
use towpath_stats::routing;

use super::PredictionId;
use super::id::Hex;
use crate::package::Column;
use crate::protocol::json_tensor::Nested;
use crate::tensor::{Tensor, TensorSpec};

/// More values than this are not kept: the checksum of the body names them.
const MOST_VALUES: usize = 4_096;

/// Instead of a value that is masked.
const MASK: &str = "***";

#[derive(Debug, Default)]
pub(crate) struct Rules {
    policy: LogPolicy,
    /// Makes the hashes of this deployment its own: nobody finds a value by trying all there are.
    key: [u8; 32],
}

enum Treatment {
    Keep,
    Drop,
    Hash,
    Mask,
}

impl Rules {
    pub(crate) fn new(policy: LogPolicy, key: [u8; 32]) -> Self {
        Self { policy, key }
    }

    /// Whether the row of this prediction is written. The id decides, so that nobody has to remember.
    pub(crate) fn keep(&self, id: PredictionId, failed: bool) -> bool {
        let sampled = || routing::position("prediction log", &id.0.to_be_bytes()) < self.policy.sample;
        self.policy.sample >= 1.0 || (failed && self.policy.always_errors) || sampled()
    }

    /// The inputs that are needed later, if any are.
    pub(crate) fn copy(&self, inputs: &[Tensor]) -> Option<Vec<Tensor>> {
        let values: usize = inputs.iter().map(|input| input.data.len()).sum();
        (self.policy.features && values <= MOST_VALUES).then(|| inputs.to_vec())
    }

    /// The features by the names of the model's inputs, or of its columns when one input holds them all.
    pub(crate) fn features(
        &self,
        specs: &[TensorSpec],
        columns: &[Column],
        inputs: &[Tensor],
    ) -> Option<Box<RawValue>> {
        to_raw_value(&Features { rules: self, specs, columns, inputs }).ok()
    }

    fn treatment(&self, name: &str) -> Treatment {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        match () {
            () if named(&self.policy.drop) => Treatment::Drop,
            () if named(&self.policy.mask) => Treatment::Mask,
            () if named(&self.policy.hash) => Treatment::Hash,
            () => Treatment::Keep,
        }
    }

    /// The same value of the same feature has the same hash, in this deployment.
    fn hash(&self, name: &str, value: &impl Serialize) -> serde_json::Result<Hex<16>> {
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(serde_json::to_vec(value)?);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        Ok(Hex(digest))
    }
}

struct Features<'a> {
    rules: &'a Rules,
    specs: &'a [TensorSpec],
    columns: &'a [Column],
    inputs: &'a [Tensor],
}

impl Serialize for Features<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut add = |name: &str, rows: &[Nested<'_>]| match self.rules.treatment(name) {
            Treatment::Drop => Ok(()),
            Treatment::Keep => map.serialize_entry(name, rows),
            Treatment::Mask => map.serialize_entry(name, MASK),
            Treatment::Hash => {
                let hashes: Result<Vec<_>, _> = rows.iter().map(|row| self.rules.hash(name, row)).collect();
                map.serialize_entry(name, &hashes.map_err(serde::ser::Error::custom)?)
            }
        };
        if let [Tensor { shape, data }] = self.inputs
            && self.columns.len() > 1
            && shape.last() == Some(&self.columns.len())
        {
            let width = self.columns.len();
            for (at, column) in self.columns.iter().enumerate() {
                let cells = (0..data.len() / width).map(|row| Nested { shape: &[], data, from: row * width + at });
                add(&column.name, &cells.collect::<Vec<_>>())?;
            }
        } else {
            for (spec, Tensor { shape, data }) in self.specs.iter().zip(self.inputs) {
                let (rows, inner) = shape.split_first().map_or((1, &[][..]), |(rows, inner)| (*rows, inner));
                let width: usize = inner.iter().product();
                // A column of its own is a list of values, not of lists.
                let inner = if inner == [1] { &[] } else { inner };
                let rows = (0..rows).map(|row| Nested { shape: inner, data, from: row * width });
                add(&spec.name, &rows.collect::<Vec<_>>())?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::package::ColumnKind;
    use crate::tensor::{Data, ElementType};

    fn spec(name: &str, element_type: ElementType) -> TensorSpec {
        TensorSpec { name: name.to_owned(), element_type, shape: vec![None, Some(1)] }
    }

    fn features(rules: &Rules, specs: &[TensorSpec], columns: &[Column], inputs: &[Tensor]) -> Value {
        serde_json::from_str(rules.features(specs, columns, inputs).unwrap().get()).unwrap()
    }

    #[test]
    fn features_are_dropped_hashed_and_masked_by_name() {
        let names = |name: &str| vec![name.to_owned()];
        let policy =
            LogPolicy { drop: names("name"), hash: names("city"), mask: names("phone"), ..LogPolicy::default() };
        let specs = ["age", "name", "city", "phone"].map(|name| spec(name, ElementType::Text));
        let text = |values: [&str; 2]| Tensor { shape: vec![2, 1], data: Data::Text(values.map(str::to_owned).into()) };
        let inputs = [text(["31", "32"]), text(["a", "b"]), text(["here", "here"]), text(["1", "2"])];
        let kept = features(&Rules::new(policy.clone(), [7; 32]), &specs, &[], &inputs);
        assert_eq!((&kept["age"], &kept["phone"]), (&json!(["31", "32"]), &json!(MASK)));
        assert!(kept.get("name").is_none(), "{kept}");
        assert_eq!(kept["city"][0], kept["city"][1]);
        assert!(!kept.to_string().contains("here"), "{kept}");
        let elsewhere = features(&Rules::new(policy, [8; 32]), &specs, &[], &inputs);
        assert_ne!(elsewhere["city"], kept["city"], "another deployment has other hashes");
    }

    #[test]
    fn a_matrix_with_columns_is_kept_by_column() {
        let column = |name: &str| Column { name: name.to_owned(), kind: ColumnKind::Float, required: true };
        let policy = LogPolicy { drop: vec!["b".to_owned()], ..LogPolicy::default() };
        let inputs = [Tensor { shape: vec![2, 2], data: Data::F32(vec![1.0, 2.0, 3.0, 4.0]) }];
        let specs = [spec("X", ElementType::F32)];
        let kept = features(&Rules::new(policy, [0; 32]), &specs, &[column("a"), column("b")], &inputs);
        assert_eq!(kept, json!({"a": [1.0, 3.0]}));
        let unnamed = features(&Rules::default(), &specs, &[], &inputs);
        assert_eq!(unnamed, json!({"X": [[1.0, 2.0], [3.0, 4.0]]}));
    }

    #[test]
    fn a_sample_is_kept_and_what_failed_always() {
        let ids: Vec<_> = (0..10_000).map(|_| PredictionId::new(1, "p", "e")).collect();
        let tenth = Rules::new(LogPolicy { sample: 0.1, ..LogPolicy::default() }, [0; 32]);
        let kept = ids.iter().filter(|id| tenth.keep(**id, false)).count();
        assert!((800..1200).contains(&kept), "{kept}");
        assert!(ids.iter().all(|id| tenth.keep(*id, true)));
    }
}
