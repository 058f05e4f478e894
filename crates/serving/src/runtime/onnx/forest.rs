//! Decision trees as one flat array, and the walk from the roots to the leaves.
//!
//! Nodes lie in preorder: the child taken when a test holds follows its parent, the other child is
//! an index that is always greater. A walk therefore ends, whatever the file said.

use std::borrow::Cow;

use super::elements::{as_f32, as_f64};
use super::node::Checked;
use crate::tensor::Tensor;

/// 32-bit floats, or 64-bit where the input has them: thresholds and sums are of this type.
pub(super) trait Number: Copy + PartialOrd + Default + Send + Sync + 'static {
    fn from_f64(value: f64) -> Self;
    fn to_f32(self) -> f32;
    fn is_nan(self) -> bool;
    fn plus(self, other: Self) -> Self;
    fn negated(self) -> Self;
    fn divided_by(self, count: usize) -> Self;
    fn view(tensor: &Tensor) -> Checked<Cow<'_, [Self]>>;
}

impl Number for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn negated(self) -> Self {
        -self
    }
    fn divided_by(self, count: usize) -> Self {
        self / count as f32
    }
    fn view(tensor: &Tensor) -> Checked<Cow<'_, [Self]>> {
        as_f32(tensor)
    }
}

impl Number for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f32(self) -> f32 {
        self as f32
    }
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn negated(self) -> Self {
        -self
    }
    fn divided_by(self, count: usize) -> Self {
        self / count as f64
    }
    fn view(tensor: &Tensor) -> Checked<Cow<'_, [Self]>> {
        as_f64(tensor)
    }
}

/// The test of a branch: the first child is taken when `feature <mode> threshold` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
}

impl Mode {
    const ALL: [Self; 6] =
        [Self::LessOrEqual, Self::Less, Self::GreaterOrEqual, Self::Greater, Self::Equal, Self::NotEqual];

    fn holds<T: Number>(self, value: T, threshold: T) -> bool {
        match self {
            Self::LessOrEqual => value <= threshold,
            Self::Less => value < threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Greater => value > threshold,
            Self::Equal => value == threshold,
            Self::NotEqual => value != threshold,
        }
    }
}

/// A node as a file describes it; children are positions in the list of described nodes.
#[derive(Clone, Debug)]
pub(super) enum Described<T> {
    Branch {
        mode: Mode,
        feature: i64,
        threshold: T,
        /// A NaN takes the first child.
        missing_holds: bool,
        children: [usize; 2],
    },
    /// `(target, weight)` added to the scores.
    Leaf(Vec<(usize, T)>),
}

/// 12 bytes for 32-bit thresholds.
#[derive(Clone, Copy, Debug)]
struct Node<T> {
    threshold: T,
    /// A branch: feature | mode << 27 | missing << 30. A leaf: `LEAF` | number of weights.
    test: u32,
    /// A branch: the node when the test fails. A leaf: its first weight.
    next: u32,
}

const LEAF: u32 = 1 << 31;
const MISSING_HOLDS: u32 = 1 << 30;
const MODE_SHIFT: u32 = 27;
const FEATURE: u32 = (1 << MODE_SHIFT) - 1;

#[derive(Debug)]
pub(super) struct Forest<T> {
    nodes: Vec<Node<T>>,
    roots: Vec<u32>,
    weights: Vec<(u32, T)>,
    /// Every branch tests with `<=`, what most trainers write.
    only_less_or_equal: bool,
    /// The longest feature index + 1: rows must be at least that long.
    features: usize,
}

impl<T: Number> Forest<T> {
    /// Flattens the trees below `roots`. A branch with two parents (so also a cycle) is refused.
    pub(super) fn new(described: &[Described<T>], roots: &[usize], targets: usize) -> Checked<Self> {
        let mut forest = Self {
            nodes: Vec::with_capacity(described.len()),
            roots: Vec::with_capacity(roots.len()),
            weights: Vec::new(),
            only_less_or_equal: true,
            features: 0,
        };
        let mut seen = vec![false; described.len()];
        for &root in roots {
            forest.roots.push(position(forest.nodes.len())?);
            // Each entry: a described node, and the flat branch whose `next` it is.
            let mut open: Vec<(usize, Option<usize>)> = vec![(root, None)];
            while let Some((at, parent)) = open.pop() {
                let flat = forest.nodes.len();
                if let Some(parent) = parent {
                    forest.nodes[parent].next = position(flat)?;
                }
                let node = described.get(at).ok_or_else(|| format!("there is no node {at}"))?;
                if let Described::Branch { children: [holds, fails], .. } = *node {
                    if std::mem::replace(&mut seen[at], true) {
                        return Err(format!("node {at} has two parents, or its tree is a cycle"));
                    }
                    open.extend([(fails, Some(flat)), (holds, None)]);
                }
                let node = forest.flatten(node, targets)?;
                forest.nodes.push(node);
            }
        }
        Ok(forest)
    }

    fn flatten(&mut self, node: &Described<T>, targets: usize) -> Checked<Node<T>> {
        match node {
            &Described::Branch { mode, feature, threshold, missing_holds, .. } => {
                let index = u32::try_from(feature)
                    .ok()
                    .filter(|&feature| feature <= FEATURE)
                    .ok_or_else(|| format!("a branch tests feature {feature}"))?;
                self.features = self.features.max(index as usize + 1);
                self.only_less_or_equal &= mode == Mode::LessOrEqual;
                let missing = if missing_holds { MISSING_HOLDS } else { 0 };
                let test = index | (mode as u32) << MODE_SHIFT | missing;
                Ok(Node { threshold, test, next: 0 })
            }
            Described::Leaf(weights) => {
                let first = position(self.weights.len())?;
                for &(target, weight) in weights {
                    if target >= targets {
                        return Err(format!("a leaf adds to target {target} of {targets}"));
                    }
                    self.weights.push((position(target)?, weight));
                }
                let count = position(weights.len())?;
                Ok(Node { threshold: T::default(), test: LEAF | count, next: first })
            }
        }
    }

    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Rows must have at least this many features.
    pub(super) fn features(&self) -> usize {
        self.features
    }

    /// Calls `add(row, target, weight)` for every weight of every leaf reached, for each row in
    /// the order of the trees. Trees are the outer loop so that one stays in the cache while all
    /// rows pass through it. Rows are at least [`Forest::features`] long.
    pub(super) fn visit(&self, rows: &[T], columns: usize, add: impl FnMut(usize, usize, T)) {
        if self.only_less_or_equal {
            self.visit_testing(rows, columns, |node, value| value <= node.threshold, add);
        } else {
            let holds = |node: &Node<T>, value| {
                let mode = Mode::ALL[(node.test >> MODE_SHIFT & 7) as usize];
                mode.holds(value, node.threshold)
            };
            self.visit_testing(rows, columns, holds, add);
        }
    }

    fn visit_testing(
        &self,
        rows: &[T],
        columns: usize,
        holds: impl Fn(&Node<T>, T) -> bool,
        mut add: impl FnMut(usize, usize, T),
    ) {
        for &root in &self.roots {
            for (row_index, row) in rows.chunks_exact(columns).enumerate() {
                let mut at = root as usize;
                let leaf = loop {
                    let node = &self.nodes[at];
                    if node.test & LEAF != 0 {
                        break node;
                    }
                    let value = row[(node.test & FEATURE) as usize];
                    let first = holds(node, value) || (node.test & MISSING_HOLDS != 0 && value.is_nan());
                    at = if first { at + 1 } else { node.next as usize };
                };
                let start = leaf.next as usize;
                let end = start + (leaf.test & !LEAF) as usize;
                for &(target, weight) in &self.weights[start..end] {
                    add(row_index, target as usize, weight);
                }
            }
        }
    }
}

fn position(index: usize) -> Checked<u32> {
    u32::try_from(index).ok().filter(|&index| index < LEAF).ok_or_else(|| "more than 2^31 nodes".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(weight: f32) -> Described<f32> {
        Described::Leaf(vec![(0, weight)])
    }

    fn branch(children: [usize; 2]) -> Described<f32> {
        Described::Branch { mode: Mode::LessOrEqual, feature: 0, threshold: 0.5, missing_holds: false, children }
    }

    #[test]
    fn a_cycle_is_refused() {
        let error = Forest::new(&[branch([1, 0]), leaf(1.0)], &[0], 1).unwrap_err();
        assert_eq!(error, "node 0 has two parents, or its tree is a cycle");
    }

    #[test]
    fn a_child_that_does_not_exist_is_refused() {
        let error = Forest::new(&[branch([1, 7]), leaf(1.0)], &[0], 1).unwrap_err();
        assert_eq!(error, "there is no node 7");
    }

    /// What the specification says, node by node.
    fn naive(described: &[Described<f32>], at: usize, row: &[f32]) -> f32 {
        match &described[at] {
            Described::Leaf(weights) => weights[0].1,
            Described::Branch { mode, feature, threshold, missing_holds, children } => {
                let value = row[usize::try_from(*feature).unwrap()];
                let holds = mode.holds(value, *threshold) || (*missing_holds && value.is_nan());
                naive(described, children[usize::from(!holds)], row)
            }
        }
    }

    fn number() -> impl Strategy<Value = f32> {
        // A small grid, so that values often equal thresholds.
        prop_oneof![
            8 => (-4_i8..4).prop_map(|n| f32::from(n) / 2.0),
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
        ]
    }

    /// A random tree: node `i` of `branches` has its children among the later nodes.
    fn tree(modes: &'static [Mode]) -> impl Strategy<Value = Vec<Described<f32>>> {
        let test = (prop::sample::select(modes), 0_i64..4, number(), any::<bool>());
        prop::collection::vec((test, any::<bool>()), 1..30).prop_map(|tests| {
            let mut described: Vec<Described<f32>> = Vec::new();
            let mut free = vec![(0_usize, 0_usize)];
            for ((mode, feature, threshold, missing_holds), last) in tests {
                // Grow at the oldest or the newest free end: bushes and chains.
                let at = if last { free.len() - 1 } else { 0 };
                let (parent, side) = free.remove(at);
                let index = described.len();
                if let Some(Described::Branch { children, .. }) = described.get_mut(parent) {
                    children[side] = index;
                }
                let children = [usize::MAX; 2];
                described.push(Described::Branch { mode, feature, threshold, missing_holds, children });
                free.extend([(index, 0), (index, 1)]);
            }
            for (parent, side) in free {
                let index = described.len();
                if let Described::Branch { children, .. } = &mut described[parent] {
                    children[side] = index;
                }
                described.push(leaf(index as f32));
            }
            described
        })
    }

    fn check(described: &[Described<f32>], rows: &[[f32; 4]]) {
        let forest = Forest::new(described, &[0], 1).unwrap();
        let mut scores = vec![0.0; rows.len()];
        forest.visit(rows.as_flattened(), 4, |row, _, weight| scores[row] += weight);
        let expected: Vec<f32> = rows.iter().map(|row| naive(described, 0, row)).collect();
        assert_eq!(scores, expected);
    }

    fn rows() -> impl Strategy<Value = Vec<[f32; 4]>> {
        prop::collection::vec([number(), number(), number(), number()], 1..10)
    }

    proptest! {
        #[test]
        fn trees_of_mixed_tests_reach_the_leaf_of_a_naive_walk(
            described in tree(&Mode::ALL), rows in rows()
        ) {
            check(&described, &rows);
        }

        #[test]
        fn trees_of_one_test_reach_the_leaf_of_a_naive_walk(
            described in tree(&[Mode::LessOrEqual]), rows in rows()
        ) {
            check(&described, &rows);
        }
    }
}
