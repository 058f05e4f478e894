//! Runs a planned graph: values live in numbered slots, nothing is looked up by name.

use super::super::RunError;
use super::elements;
use crate::tensor::Tensor;

/// One node, checked and ready to run. Inputs have the element types that the loader agreed on;
/// their shapes are only known now, so each operator checks them.
pub(super) trait Operator: Send + Sync {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String>;
}

/// What a node produced, in the order of its outputs.
pub(super) enum Produced {
    One(Tensor),
    /// Label and scores of a classifier.
    Two(Tensor, Tensor),
}

impl From<Tensor> for Produced {
    fn from(tensor: Tensor) -> Self {
        Self::One(tensor)
    }
}

/// Where a node reads an input from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// `last`: nobody reads the slot afterwards, the node may consume the tensor.
    Slot {
        slot: usize,
        last: bool,
    },
    Constant(usize),
    /// An optional input that was left out.
    Absent,
}

/// The inputs of one node during a run.
pub(super) struct Inputs<'a> {
    slots: &'a mut [Option<Tensor>],
    constants: &'a [Tensor],
    sources: &'a [Source],
}

impl Inputs<'_> {
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// The `index`-th input, `None` when it was left out.
    pub(super) fn optional(&self, index: usize) -> Option<&Tensor> {
        match *self.sources.get(index)? {
            Source::Slot { slot, .. } => self.slots.get(slot)?.as_ref(),
            Source::Constant(constant) => self.constants.get(constant),
            Source::Absent => None,
        }
    }

    pub(super) fn get(&self, index: usize) -> Result<&Tensor, String> {
        self.optional(index).ok_or_else(|| format!("input {index} is missing"))
    }

    /// The tensor itself if this node is its last reader, else a copy.
    pub(super) fn take(&mut self, index: usize) -> Result<Tensor, String> {
        if let Some(&Source::Slot { slot, last: true }) = self.sources.get(index)
            && let Some(tensor) = self.slots.get_mut(slot).and_then(Option::take)
        {
            return Ok(tensor);
        }
        self.get(index).cloned()
    }
}

/// A node in the order of execution.
pub(super) struct Step {
    pub(super) operator: Box<dyn Operator>,
    pub(super) inputs: Vec<Source>,
    /// The slot of each output, `None` when nobody reads it.
    pub(super) outputs: [Option<usize>; 2],
    /// For error messages: the node's name and operator.
    pub(super) label: String,
}

/// A graph ready to run. Slots `0..inputs` are the inputs of the graph.
pub(super) struct Plan {
    pub(super) constants: Vec<Tensor>,
    pub(super) slots: usize,
    pub(super) inputs: usize,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Source>,
}

impl Plan {
    pub(super) fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let fail = |node: &str, detail: String| RunError::Node { node: node.to_owned(), detail };
        if inputs.len() != self.inputs {
            let detail = format!("{} inputs given, the model takes {}", inputs.len(), self.inputs);
            return Err(fail("(inputs)", detail));
        }
        for (index, input) in inputs.iter().enumerate() {
            if elements::count(&input.shape) != Ok(input.data.len()) {
                let detail = format!("input {index}: {} elements of shape {:?}", input.data.len(), input.shape);
                return Err(fail("(inputs)", detail));
            }
        }
        let mut slots: Vec<Option<Tensor>> = Vec::with_capacity(self.slots);
        slots.extend(inputs.into_iter().map(Some));
        slots.resize_with(self.slots, || None);
        for step in &self.steps {
            let mut arguments = Inputs { slots: &mut slots, constants: &self.constants, sources: &step.inputs };
            let produced = step.operator.run(&mut arguments).map_err(|detail| fail(&step.label, detail))?;
            let (first, second) = match produced {
                Produced::One(first) => (first, None),
                Produced::Two(first, second) => (first, Some(second)),
            };
            if let Some(slot) = step.outputs[0] {
                slots[slot] = Some(first);
            }
            if let (Some(slot), Some(second)) = (step.outputs[1], second) {
                slots[slot] = Some(second);
            }
        }
        let mut results = Inputs { slots: &mut slots, constants: &self.constants, sources: &self.outputs };
        (0..self.outputs.len()).map(|index| results.take(index).map_err(|detail| fail("(outputs)", detail))).collect()
    }
}
