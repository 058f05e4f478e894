//! Exact TreeSHAP of one row, path-dependent: what each column added to the margin of the row, compared with rows as
//! training saw them. After S. Lundberg et al., "From local explanations to global understanding with explainable AI
//! for trees", Nature Machine Intelligence, 2020, algorithm 2.

use crate::runtime::ExplainError;

/// Deeper trees are not explained: the work grows with the square of the depth, and every level is a call.
const MAX_DEPTH: usize = 512;

/// One node of a tree, as a row meets it.
pub(super) enum Step {
    Leaf(f64),
    Split {
        column: u32,
        /// Where the row goes, and where it does not.
        taken: u32,
        other: u32,
    },
}

/// A tree, whose nodes are known by numbers.
pub(super) trait Tree<Row: ?Sized> {
    fn step(&self, node: u32, row: &Row) -> Step;

    /// How much of the training data passed the node.
    fn cover(&self, node: u32) -> f64;
}

/// A split above the present node; those of one column are one.
#[derive(Clone, Copy)]
struct Element {
    /// [`ROOT`] for the first one.
    column: u32,
    /// The share of rows that come this way when the column is not known, and whether this row does when it is.
    unknown: f64,
    known: f64,
    /// The share of the sets of known columns of each size.
    weight: f64,
}

const ROOT: u32 = u32::MAX;

/// Adds what each column added to `contributions`, and the mean of the tree to the last place behind the columns.
pub(super) fn explain<Row: ?Sized>(
    tree: &impl Tree<Row>,
    root: u32,
    row: &Row,
    contributions: &mut [f64],
) -> Result<(), ExplainError> {
    let mut explanation = Explanation { tree, row, contributions, path: Vec::new() };
    explanation.descend(root, 0, Element { column: ROOT, unknown: 1.0, known: 1.0, weight: 1.0 }, 1.0, 0)
}

struct Explanation<'a, T, Row: ?Sized> {
    tree: &'a T,
    row: &'a Row,
    contributions: &'a mut [f64],
    /// The paths to the present node and to all above it, one behind the other.
    path: Vec<Element>,
}

impl<Row: ?Sized, T: Tree<Row>> Explanation<'_, T, Row> {
    /// `from` is where the path of the parent begins, `reach` the share of all rows that come here.
    fn descend(
        &mut self,
        node: u32,
        from: usize,
        arrived: Element,
        reach: f64,
        depth: usize,
    ) -> Result<(), ExplainError> {
        if depth > MAX_DEPTH {
            return Err(ExplainError::Unsupported(format!("a tree has more than {MAX_DEPTH} levels")));
        }
        let start = self.path.len();
        self.path.extend_from_within(from..start);
        extend(&mut self.path, start, arrived);
        match self.tree.step(node, self.row) {
            Step::Leaf(value) => self.add(start, value, reach),
            Step::Split { column, taken, other } => {
                let (mut unknown, mut known) = (1.0, 1.0);
                if let Some(before) = self.path[start..].iter().position(|element| element.column == column) {
                    Element { unknown, known, .. } = self.path[start + before];
                    unwind(&mut self.path, start, before);
                }
                let (here, there) = (self.tree.cover(taken), self.tree.cover(other));
                // Where nobody passed, nothing is known of the two ways.
                let share = if here + there > 0.0 { here / (here + there) } else { 0.5 };
                for (child, share, known) in [(taken, share, known), (other, 1.0 - share, 0.0)] {
                    let arrived = Element { column, unknown: unknown * share, known, weight: 0.0 };
                    // No leaf behind it counts for this row, whatever is known.
                    if arrived.unknown > 0.0 || arrived.known > 0.0 {
                        self.descend(child, start, arrived, reach * share, depth + 1)?;
                    }
                }
            }
        }
        self.path.truncate(start);
        Ok(())
    }

    fn add(&mut self, start: usize, value: f64, reach: f64) {
        let path = &self.path[start..];
        for (at, element) in path.iter().enumerate().skip(1) {
            self.contributions[element.column as usize] +=
                weight_without(path, at) * (element.known - element.unknown) * value;
        }
        if let Some(mean) = self.contributions.last_mut() {
            *mean += reach * value;
        }
    }
}

/// Appends an element to the path that begins at `start`.
fn extend(path: &mut Vec<Element>, start: usize, arrived: Element) {
    let last = path.len() - start;
    path.push(Element { weight: if last == 0 { 1.0 } else { 0.0 }, ..arrived });
    let (path, length) = (&mut path[start..], last as f64 + 1.0);
    for at in (0..last).rev() {
        path[at + 1].weight += arrived.known * path[at].weight * (at as f64 + 1.0) / length;
        path[at].weight *= arrived.unknown * (last - at) as f64 / length;
    }
}

/// Takes an element out of the path that begins at `start`, as if it had never been there.
fn unwind(path: &mut Vec<Element>, start: usize, out: usize) {
    let whole = &mut path[start..];
    let last = whole.len() - 1;
    let length = last as f64 + 1.0;
    let Element { unknown, known, .. } = whole[out];
    let mut next = whole[last].weight;
    for at in (0..last).rev() {
        let weight = whole[at].weight;
        let behind = (last - at) as f64;
        if known == 0.0 {
            whole[at].weight = weight * length / (unknown * behind);
        } else {
            whole[at].weight = next * length / ((at as f64 + 1.0) * known);
            next = weight - whole[at].weight * unknown * behind / length;
        }
    }
    for at in out..last {
        whole[at] = Element { weight: whole[at].weight, ..whole[at + 1] };
    }
    path.pop();
}

/// The sum of the weights of the path after [`unwind`].
fn weight_without(path: &[Element], out: usize) -> f64 {
    let last = path.len() - 1;
    let length = last as f64 + 1.0;
    let Element { unknown, known, .. } = path[out];
    let (mut next, mut sum) = (path[last].weight, 0.0);
    for at in (0..last).rev() {
        let behind = (last - at) as f64;
        if known == 0.0 {
            sum += path[at].weight * length / (unknown * behind);
        } else {
            let weight = next * length / ((at as f64 + 1.0) * known);
            sum += weight;
            next = path[at].weight - weight * unknown * behind / length;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (column, threshold, left, right), or the value of a leaf; and how many rows passed it.
    #[derive(Clone, Debug)]
    struct Grown(Vec<(Node, f64)>);

    #[derive(Clone, Debug)]
    enum Node {
        Leaf(f64),
        Split(u32, f64, u32, u32),
    }

    impl Tree<[f64]> for Grown {
        fn step(&self, node: u32, row: &[f64]) -> Step {
            match self.0[node as usize].0 {
                Node::Leaf(value) => Step::Leaf(value),
                Node::Split(column, threshold, left, right) => {
                    let goes_left = row[column as usize] < threshold;
                    let (taken, other) = if goes_left { (left, right) } else { (right, left) };
                    Step::Split { column, taken, other }
                }
            }
        }

        fn cover(&self, node: u32) -> f64 {
            self.0[node as usize].1
        }
    }

    impl Grown {
        /// What the tree is worth on average when only the columns of the set are known.
        fn worth(&self, node: u32, row: &[f64], known: u32) -> f64 {
            match self.step(node, row) {
                Step::Leaf(value) => value,
                Step::Split { column, taken, .. } if known >> column & 1 == 1 => self.worth(taken, row, known),
                Step::Split { taken, other, .. } => {
                    let (here, there) = (self.cover(taken), self.cover(other));
                    let share = if here + there > 0.0 { here / (here + there) } else { 0.5 };
                    share * self.worth(taken, row, known) + (1.0 - share) * self.worth(other, row, known)
                }
            }
        }
    }

    const COLUMNS: u32 = 4;

    /// Shapley's definition, over all sets of columns.
    fn defined(tree: &Grown, row: &[f64]) -> Vec<f64> {
        let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
        let of = |column: u32| {
            let sets = (0..1_u32 << COLUMNS).filter(|set| set >> column & 1 == 0);
            let added = sets.map(|set| {
                let size = set.count_ones();
                let weight = factorial(size) * factorial(COLUMNS - size - 1) / factorial(COLUMNS);
                weight * (tree.worth(0, row, set | 1 << column) - tree.worth(0, row, set))
            });
            added.sum()
        };
        (0..COLUMNS).map(of).chain([tree.worth(0, row, 0)]).collect()
    }

    fn tree() -> impl Strategy<Value = Grown> {
        let split = (0..COLUMNS, -2_i8..3, any::<prop::sample::Index>());
        let covers = prop::collection::vec(prop_oneof![9 => 0.1..10.0_f64, 1 => Just(0.0)], 41);
        let leaves = prop::collection::vec(-5.0..5.0_f64, 41);
        (prop::collection::vec(split, 0..20), covers, leaves).prop_map(|(splits, covers, leaves)| {
            let mut nodes = vec![Node::Leaf(leaves[0])];
            for (column, threshold, which) in splits {
                let open: Vec<usize> = (0..nodes.len()).filter(|at| matches!(nodes[*at], Node::Leaf(_))).collect();
                let at = open[which.index(open.len())];
                let first = nodes.len();
                nodes[at] = Node::Split(column, f64::from(threshold), first as u32, first as u32 + 1);
                nodes.extend([Node::Leaf(leaves[first]), Node::Leaf(leaves[first + 1])]);
            }
            Grown(nodes.into_iter().zip(covers).collect())
        })
    }

    proptest! {
        #[test]
        fn contributions_are_shapley_values_over_all_sets_of_columns(
            tree in tree(), row in prop::collection::vec(-3.0..3.0_f64, COLUMNS as usize)
        ) {
            let mut contributions = vec![0.0; COLUMNS as usize + 1];
            explain(&tree, 0, row.as_slice(), &mut contributions).unwrap();
            let expected = defined(&tree, &row);
            for (got, expected) in contributions.iter().zip(&expected) {
                prop_assert!((got - expected).abs() < 1e-9, "{contributions:?} instead of {expected:?}");
            }
        }
    }

    #[test]
    fn a_chain_without_end_is_refused() {
        let nodes = (0..2_000_u32).map(|at| {
            let node = if at % 2 == 1 || at == 1_998 { Node::Leaf(1.0) } else { Node::Split(0, 9.0, at + 2, at + 1) };
            (node, 1.0)
        });
        let error = explain(&Grown(nodes.collect()), 0, [0.0].as_slice(), &mut [0.0; 2]).unwrap_err();
        assert!(error.to_string().contains("512 levels"), "{error}");
    }
}
