//! Broadcasting: shapes are aligned at their last dimension, a dimension of 1 is repeated.

use super::elements::count;
use super::node::{Checked, ValueType};

/// The common shape, or an error that names both.
pub(super) fn common_shape(a: &[usize], b: &[usize]) -> Checked<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], index: usize| (index + shape.len()).checked_sub(rank).map_or(1, |index| shape[index]);
    let shape = (0..rank)
        .map(|index| match (at(a, index), at(b, index)) {
            (left, right) if left == right || right == 1 => Ok(left),
            (1, right) => Ok(right),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect::<Checked<Vec<usize>>>()?;
    count(&shape)?;
    Ok(shape)
}

/// The common shape as far as the loader knows it.
pub(super) fn known_shape(a: &ValueType, b: &ValueType) -> Option<Vec<Option<usize>>> {
    let (a, b) = (a.shape.as_ref()?, b.shape.as_ref()?);
    let rank = a.len().max(b.len());
    let at = |shape: &[Option<usize>], index: usize| {
        (index + shape.len()).checked_sub(rank).map_or(Some(1), |index| shape[index])
    };
    let dimension = |index| match (at(a, index), at(b, index)) {
        (Some(1), other) | (other, Some(1)) => other,
        (Some(left), _) => Some(left),
        (None, right) => right,
    };
    Some((0..rank).map(dimension).collect())
}

/// Where an operand's element lies for each element of the result.
pub(super) enum Reading {
    Same,
    /// One element for all.
    Scalar,
    /// The operand is the last dimensions of the result, repeated: `[C]` against `[N, C]`.
    Cycle(usize),
    /// `(length, stride in the operand)` of each dimension of the result.
    Strided(Vec<(usize, usize)>),
}

impl Reading {
    pub(super) fn new(operand: &[usize], result: &[usize]) -> Self {
        let leading = operand.iter().take_while(|&&dim| dim == 1).count();
        let tail = &operand[leading..];
        if operand.iter().product::<usize>() == result.iter().product::<usize>() {
            Self::Same
        } else if tail.is_empty() {
            Self::Scalar
        } else if result.ends_with(tail) {
            Self::Cycle(tail.iter().product())
        } else {
            let mut stride = 1;
            let mut dimensions: Vec<(usize, usize)> = Vec::with_capacity(result.len());
            for (offset, &length) in result.iter().rev().enumerate() {
                let own = operand.len().checked_sub(offset + 1).map_or(1, |index| operand[index]);
                dimensions.push((length, if own == 1 { 0 } else { stride }));
                stride *= own;
            }
            Self::Strided(dimensions)
        }
    }

    pub(super) fn at(&self, index: usize) -> usize {
        match self {
            Self::Same => index,
            Self::Scalar => 0,
            Self::Cycle(length) => index % length,
            Self::Strided(dimensions) => {
                let mut rest = index;
                let mut position = 0;
                for &(length, stride) in dimensions {
                    position += rest % length * stride;
                    rest /= length;
                }
                position
            }
        }
    }
}

/// `f` over all pairs, with the common shapes that occur in models done without index arithmetic.
pub(super) fn zip_with<A: Clone, B: Clone, R>(
    (a, a_shape): (&[A], &[usize]),
    (b, b_shape): (&[B], &[usize]),
    f: impl Fn(&A, &B) -> R,
) -> Checked<(Vec<usize>, Vec<R>)> {
    let shape = common_shape(a_shape, b_shape)?;
    let total = count(&shape)?;
    let readings = (Reading::new(a_shape, &shape), Reading::new(b_shape, &shape));
    let values = match readings {
        _ if total == 0 => Vec::new(),
        (Reading::Same, Reading::Same) => a.iter().zip(b).map(|(a, b)| f(a, b)).collect(),
        (Reading::Same, Reading::Scalar) => a.iter().map(|a| f(a, &b[0])).collect(),
        (Reading::Scalar, Reading::Same) => b.iter().map(|b| f(&a[0], b)).collect(),
        (Reading::Same, Reading::Cycle(_)) => a.iter().zip(b.iter().cycle()).map(|(a, b)| f(a, b)).collect(),
        (left, right) => (0..total).map(|index| f(&a[left.at(index)], &b[right.at(index)])).collect(),
    };
    Ok((shape, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(a: (&[i64], &[usize]), b: (&[i64], &[usize])) -> Checked<(Vec<usize>, Vec<i64>)> {
        zip_with(a, b, |a, b| a + b)
    }

    #[test]
    fn a_column_and_a_row_make_a_table() {
        let sum = add((&[10, 20], &[2, 1]), (&[1, 2, 3], &[3])).unwrap();
        assert_eq!(sum, (vec![2, 3], vec![11, 12, 13, 21, 22, 23]));
    }

    #[test]
    fn a_row_is_repeated_for_each_row() {
        let sum = add((&[1, 2, 3, 4], &[2, 2]), (&[10, 20], &[1, 2])).unwrap();
        assert_eq!(sum, (vec![2, 2], vec![11, 22, 13, 24]));
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let error = add((&[1, 2], &[2]), (&[1, 2, 3], &[3])).unwrap_err();
        assert_eq!(error, "shapes [2] and [3] do not broadcast");
    }

    #[test]
    fn an_empty_batch_stays_empty() {
        assert_eq!(add((&[], &[0, 2]), (&[1, 2], &[2])).unwrap(), (vec![0, 2], vec![]));
    }
}
