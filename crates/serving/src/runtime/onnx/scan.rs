//! `Scan`: a graph of its own, run once for each row of its inputs. It is how skl2onnx writes the distances of
//! nearest neighbours and Gaussian processes.

use super::elements::{count, map_data};
use super::execute::{Inputs, Operator, Plan, Produced};
use super::graph;
use super::node::{Built, Checked, Node, ValueType};
use super::shape;
use crate::tensor::{Data, ElementType, Tensor};

struct Scan {
    body: Plan,
    /// Values that go from one turn to the next; they come first among inputs and outputs.
    states: usize,
    /// What is known of the stacked output.
    stacked: Option<ValueType>,
}

pub(super) fn scan(node: &Node<'_>) -> Checked<Built> {
    let body = node.graph("body")?.ok_or("attribute 'body' is missing")?;
    let scanned = usize::try_from(node.integer("num_scan_inputs", 0)?).map_err(|_| "'num_scan_inputs' is negative")?;
    let states = node
        .inputs
        .len()
        .checked_sub(scanned)
        .filter(|_| scanned > 0)
        .ok_or_else(|| format!("{scanned} scan inputs of {} inputs", node.inputs.len()))?;
    for name in ["scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions"] {
        if node.integers(name)?.iter().any(|&value| value != 0) {
            return Err(format!("'{name}' is supported as 0 only"));
        }
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for index in 0..node.inputs.len() {
        let value = node.value(index)?.clone();
        inputs.push(if index < states {
            // The next turn's state may have another shape.
            ValueType::new(value.element, None)
        } else {
            let row = value.shape.as_ref().and_then(|shape| shape.get(1..)).map(<[_]>::to_vec);
            ValueType::new(value.element, row)
        });
    }
    let (body, produced) = graph::plan_body(body, node.opsets, &inputs)?;
    if produced.len() > 2 || produced.len() < states {
        return Err(format!("a body with {} outputs, {states} to 2 are supported", produced.len()));
    }
    let mut outputs = Vec::with_capacity(produced.len());
    for (index, value) in produced.into_iter().enumerate() {
        outputs.push(if index < states {
            if value.element != inputs[index].element {
                return Err(format!("state {index} is {:?}, then {:?}", inputs[index].element, value.element));
            }
            value
        } else {
            let turns = node.value(states)?.shape.as_ref().and_then(|shape| shape.first().copied().flatten());
            let stacked = value.shape.map(|row| [&[turns], row.as_slice()].concat());
            ValueType::new(value.element, stacked)
        });
    }
    let stacked = outputs.get(states).cloned();
    Ok(Built { operator: Box::new(Scan { body, states, stacked }), outputs, class_labels: None })
}

/// What no turn at all leaves, if its shape is known.
fn nothing(known: &ValueType) -> Checked<Tensor> {
    let row = known.shape.as_ref().and_then(|shape| shape.get(1..)?.iter().copied().collect::<Option<Vec<usize>>>());
    let row = row.ok_or("a scan over no rows, of which the shape is not known")?;
    let data = match known.element {
        ElementType::F32 | ElementType::Half(_) => Data::F32(Vec::new()),
        ElementType::F64 => Data::F64(Vec::new()),
        ElementType::I64 | ElementType::I32 | ElementType::Integer(_) => Data::I64(Vec::new()),
        ElementType::Bool => Data::Bool(Vec::new()),
        ElementType::Text => Data::Text(Vec::new()),
    };
    Ok(Tensor { shape: [&[0], row.as_slice()].concat(), data })
}

/// Row `index` of the first axis.
fn row(tensor: &Tensor, index: usize) -> Tensor {
    let shape = tensor.shape[1..].to_vec();
    let length: usize = shape.iter().product();
    let data = map_data!(&tensor.data, values => values[index * length..(index + 1) * length].to_vec());
    Tensor { shape, data }
}

impl Operator for Scan {
    fn run(&self, inputs: &mut Inputs<'_>) -> Result<Produced, String> {
        let mut turns = None;
        for index in self.states..inputs.len() {
            let length = *inputs.get(index)?.shape.first().ok_or("a scan input is a scalar")?;
            if *turns.get_or_insert(length) != length {
                return Err("scan inputs of different lengths".into());
            }
        }
        let turns = turns.unwrap_or(0);
        let mut states = (0..self.states).map(|index| inputs.take(index)).collect::<Checked<Vec<Tensor>>>()?;
        let mut rows: Vec<Tensor> = Vec::new();
        let mut elements = 0;
        for turn in 0..turns {
            for index in self.states..inputs.len() {
                states.push(row(inputs.get(index)?, turn));
            }
            let mut produced = self.body.run(states).map_err(|error| error.to_string())?;
            for made in produced.drain(self.states..) {
                elements += made.data.len();
                count(&[elements])?;
                rows.push(made);
            }
            states = produced;
        }
        if let Some(known) = &self.stacked {
            states.push(if rows.is_empty() { nothing(known)? } else { shape::stack(&rows)? });
        }
        let mut outputs = states.into_iter();
        match (outputs.next(), outputs.next()) {
            (Some(first), Some(second)) => Ok(Produced::Two(first, second)),
            (Some(first), None) => Ok(first.into()),
            (None, _) => Err("the body has no outputs".into()),
        }
    }
}
