//! Checks a whole graph and plans its execution, or refuses it: there is no partly run model.

use std::collections::HashMap;

use super::execute::{Plan, Source, Step};
use super::initializer;
use super::node::{Argument, Checked, Node, ValueType};
use super::operators::{self, Supported};
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::runtime::Signature;
use crate::tensor::{ElementType, Tensor, TensorSpec};

/// A graph that can be run.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) signature: Signature,
}

/// Why a graph is refused.
#[derive(Debug)]
pub(super) enum Refused {
    Malformed(String),
    Operator { operator: String, domain: String, opset: i64, node: String },
    Node { node: String, detail: String },
}

/// Where a named value lives.
#[derive(Clone, Copy)]
enum Place {
    Slot(usize),
    Constant(usize),
}

impl Place {
    fn source(self) -> Source {
        match self {
            Self::Slot(slot) => Source::Slot { slot, last: false },
            Self::Constant(constant) => Source::Constant(constant),
        }
    }
}

/// Operator set versions by domain; both names of the default domain are `""`.
pub(super) type Opsets<'a> = HashMap<&'a str, i64>;

/// Values by name, while the graph is being planned; afterwards only numbers are left.
#[derive(Default)]
struct Values {
    places: HashMap<String, Place>,
    /// Type of each slot.
    slots: Vec<ValueType>,
    constants: Vec<(Tensor, ValueType)>,
}

impl Values {
    fn define(&mut self, name: &str, place: Place) -> Result<(), Refused> {
        match self.places.insert(name.to_owned(), place) {
            None => Ok(()),
            Some(_) => Err(Refused::Malformed(format!("value '{name}' is produced twice"))),
        }
    }

    fn add_slot(&mut self, name: &str, value: ValueType) -> Result<usize, Refused> {
        let slot = self.slots.len();
        if !name.is_empty() {
            self.define(name, Place::Slot(slot))?;
        }
        self.slots.push(value);
        Ok(slot)
    }

    fn add_constant(&mut self, name: &str, tensor: Tensor, element: ElementType) -> Result<(), Refused> {
        let shape = tensor.shape.iter().copied().map(Some).collect();
        self.define(name, Place::Constant(self.constants.len()))?;
        self.constants.push((tensor, ValueType::new(element, Some(shape))));
        Ok(())
    }

    fn argument(&self, place: Place) -> Argument<'_> {
        match place {
            Place::Slot(slot) => Argument { value: self.slots[slot].clone(), constant: None },
            Place::Constant(index) => {
                let (tensor, value) = &self.constants[index];
                Argument { value: value.clone(), constant: Some(tensor) }
            }
        }
    }
}

/// Plans `model`, or says which node stands in the way.
pub(super) fn plan(model: &ModelProto) -> Result<Planned, Refused> {
    let graph = model.graph.as_ref().ok_or_else(|| Refused::Malformed("it has no graph".into()))?;
    if !graph.sparse_initializer.is_empty() {
        return Err(Refused::Malformed("sparse initialisers are not supported".into()));
    }
    let opsets = imported_opsets(model)?;
    let mut values = Values::default();
    read_initializers(graph, &mut values)?;
    let inputs = read_inputs(graph, &mut values)?;
    let (steps, class_labels) = plan_nodes(graph, &opsets, &mut values)?;
    let (sources, outputs) = read_outputs(graph, &values)?;
    let plan = finish(values, inputs.len(), steps, sources);
    Ok(Planned { plan, signature: Signature { inputs, outputs, class_labels, column_names: Vec::new() } })
}

/// Plans a graph that a node runs on values of its own. It sees nothing of the graph around it.
pub(super) fn plan_body(
    graph: &GraphProto,
    opsets: &Opsets<'_>,
    inputs: &[ValueType],
) -> Checked<(Plan, Vec<ValueType>)> {
    if !graph.sparse_initializer.is_empty() {
        return Err("sparse initialisers are not supported".into());
    }
    if graph.node.iter().any(|node| node.op_type == "Scan") {
        return Err("a Scan within a Scan is not supported".into());
    }
    if graph.input.len() != inputs.len() {
        return Err(format!("a body with {} inputs is given {}", graph.input.len(), inputs.len()));
    }
    let mut values = Values::default();
    let mut planned = || -> Result<_, Refused> {
        for (input, value) in graph.input.iter().zip(inputs) {
            values.add_slot(&input.name, value.clone())?;
        }
        read_initializers(graph, &mut values)?;
        let (steps, _) = plan_nodes(graph, opsets, &mut values)?;
        let mut sources = Vec::with_capacity(graph.output.len());
        let mut outputs = Vec::with_capacity(graph.output.len());
        for output in &graph.output {
            let place = *values
                .places
                .get(&output.name)
                .ok_or_else(|| Refused::Malformed(format!("no node produces output '{}'", output.name)))?;
            outputs.push(values.argument(place).value);
            sources.push(place.source());
        }
        Ok((steps, sources, outputs))
    };
    let (steps, sources, outputs) = planned().map_err(|refused| match refused {
        Refused::Malformed(detail) => format!("its body: {detail}"),
        Refused::Operator { operator, domain, opset, node } => {
            format!("operator {operator} ({domain}, opset {opset}) of node '{node}' in its body is not supported")
        }
        Refused::Node { node, detail } => format!("node '{node}' of its body: {detail}"),
    })?;
    Ok((finish(values, inputs.len(), steps, sources), outputs))
}

/// The steps of all nodes, and what classes are called.
fn plan_nodes(
    graph: &GraphProto,
    opsets: &Opsets<'_>,
    values: &mut Values,
) -> Result<(Vec<Step>, Option<Vec<String>>), Refused> {
    let mut steps = Vec::with_capacity(graph.node.len());
    let mut classifier_labels = None;
    let mut zipmap_labels = None;
    for (index, node) in graph.node.iter().enumerate() {
        if node.op_type == "Constant" && domain(node).is_empty() {
            read_constant(node, index, values)?;
            continue;
        }
        let (step, labels) = plan_node(node, index, opsets, values)?;
        steps.push(step);
        if node.op_type == "ZipMap" {
            zipmap_labels = zipmap_labels.or(labels);
        } else {
            classifier_labels = labels.or(classifier_labels);
        }
    }
    Ok((steps, zipmap_labels.or(classifier_labels)))
}

fn finish(values: Values, inputs: usize, steps: Vec<Step>, outputs: Vec<Source>) -> Plan {
    let mut plan = Plan {
        constants: values.constants.into_iter().map(|(tensor, _)| tensor).collect(),
        slots: values.slots.len(),
        inputs,
        steps,
        outputs,
    };
    drop_unread_steps(&mut plan);
    mark_last_reads(&mut plan);
    plan
}

fn imported_opsets(model: &ModelProto) -> Result<Opsets<'_>, Refused> {
    let mut opsets = HashMap::new();
    for import in &model.opset_import {
        let domain = default_domain(&import.domain);
        let version = opsets.entry(domain).or_insert(import.version);
        // skl2onnx may import a domain twice, with the same version.
        *version = import.version.max(*version);
    }
    if opsets.is_empty() {
        return Err(Refused::Malformed("it imports no operator set".into()));
    }
    Ok(opsets)
}

fn default_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn domain(node: &NodeProto) -> &str {
    default_domain(&node.domain)
}

fn read_initializers(graph: &GraphProto, values: &mut Values) -> Result<(), Refused> {
    for proto in &graph.initializer {
        let (tensor, element) = initializer::read(proto)
            .map_err(|detail| Refused::Malformed(format!("initialiser '{}': {detail}", proto.name)))?;
        values.add_constant(&proto.name, tensor, element)?;
    }
    Ok(())
}

/// The inputs of the graph that are not initialisers (old files list those as inputs, too).
fn read_inputs(graph: &GraphProto, values: &mut Values) -> Result<Vec<TensorSpec>, Refused> {
    let mut specs = Vec::new();
    for input in &graph.input {
        if matches!(values.places.get(&input.name), Some(Place::Constant(_))) {
            continue;
        }
        let malformed = |detail: String| Refused::Malformed(format!("input '{}': {detail}", input.name));
        let value = declared_type(input)
            .map_err(malformed)?
            .ok_or_else(|| malformed("only tensors are supported as inputs".into()))?;
        let Some(shape) = value.shape.clone() else {
            return Err(malformed("its shape is not declared: export with initial_types".into()));
        };
        values.add_slot(&input.name, value.clone())?;
        specs.push(TensorSpec { name: input.name.clone(), element_type: value.element, shape });
    }
    Ok(specs)
}

/// The declared type of an input or output; `None` for sequences and maps.
fn declared_type(info: &ValueInfoProto) -> Checked<Option<ValueType>> {
    let Some(tensor) = info.r#type.as_ref().and_then(|declared| declared.tensor_type.as_ref()) else {
        return Ok(None);
    };
    let element = initializer::element_type(tensor.elem_type)?;
    let shape = tensor.shape.as_ref().map(|shape| {
        let length = |value: i64| usize::try_from(value).ok().filter(|&value| value > 0);
        shape.dim.iter().map(|dim| dim.dim_value.and_then(length)).collect()
    });
    Ok(Some(ValueType::new(element, shape)))
}

fn node_name(node: &NodeProto, index: usize) -> String {
    if node.name.is_empty() { format!("#{index}") } else { node.name.clone() }
}

/// `Constant` is no computation: its `value` joins the initialisers.
fn read_constant(node: &NodeProto, index: usize, values: &mut Values) -> Result<(), Refused> {
    let refuse = |detail: String| Refused::Node { node: node_name(node, index), detail };
    let (Some(output), [AttributeProto { name, t: Some(proto), .. }]) =
        (node.output.first(), node.attribute.as_slice())
    else {
        return Err(refuse("Constant is supported with one attribute 'value' only".into()));
    };
    if name != "value" {
        return Err(refuse(format!("Constant with '{name}' is not supported: use 'value'")));
    }
    let (tensor, element) = initializer::read(proto).map_err(refuse)?;
    values.add_constant(output, tensor, element)
}

fn plan_node(
    proto: &NodeProto,
    index: usize,
    opsets: &Opsets<'_>,
    values: &mut Values,
) -> Result<(Step, Option<Vec<String>>), Refused> {
    let name = node_name(proto, index);
    let domain = domain(proto);
    let Some(&opset) = opsets.get(domain) else {
        return Err(Refused::Malformed(format!(
            "node '{name}' uses domain '{domain}', which the model does not import"
        )));
    };
    let shown = if domain.is_empty() { "ai.onnx" } else { domain };
    let Some(supported) = operators::find(shown, &proto.op_type, opset) else {
        return Err(Refused::Operator { operator: proto.op_type.clone(), domain: shown.to_owned(), opset, node: name });
    };
    let label = format!("{name} ({} of {shown}, opset {opset})", proto.op_type);
    let refuse = |detail: String| Refused::Node { node: label.clone(), detail };
    check_attributes(supported, proto).map_err(refuse)?;
    let places = input_places(proto, values).map_err(refuse)?;
    let node = Node {
        operator: &proto.op_type,
        opset,
        opsets,
        attributes: &proto.attribute,
        inputs: places.iter().map(|place| place.map(|place| values.argument(place))).collect(),
    };
    let built = (supported.build)(&node).map_err(refuse)?;
    if proto.output.len() > built.outputs.len() {
        return Err(refuse(format!("output '{}' is not supported", proto.output[built.outputs.len()])));
    }
    let mut outputs = [None; 2];
    for ((name, value), output) in proto.output.iter().zip(built.outputs).zip(&mut outputs) {
        *output = Some(values.add_slot(name, value)?);
    }
    let inputs = places
        .into_iter()
        .map(|place| match place {
            None => Source::Absent,
            Some(place) => place.source(),
        })
        .collect();
    Ok((Step { operator: built.operator, inputs, outputs, label }, built.class_labels))
}

fn check_attributes(supported: &Supported, node: &NodeProto) -> Checked<()> {
    for attribute in &node.attribute {
        if !attribute.ref_attr_name.is_empty() {
            return Err(format!("attribute '{}' refers to a function", attribute.name));
        }
        if !supported.attributes.contains(&attribute.name.as_str()) {
            return Err(format!(
                "attribute '{}' is not supported; {} takes: {}",
                attribute.name,
                supported.operator,
                supported.attributes.join(", ")
            ));
        }
    }
    Ok(())
}

/// Nodes come in the order of execution (ONNX demands it), so a name that is not yet known is
/// missing or part of a cycle.
fn input_places(node: &NodeProto, values: &Values) -> Checked<Vec<Option<Place>>> {
    node.input
        .iter()
        .map(|name| {
            if name.is_empty() {
                return Ok(None);
            }
            values.places.get(name).copied().map(Some).ok_or_else(|| {
                format!(
                    "input '{name}' is neither an input of the graph, an initialiser nor the \
                     output of an earlier node (missing, or a cycle)"
                )
            })
        })
        .collect()
}

fn read_outputs(graph: &GraphProto, values: &Values) -> Result<(Vec<Source>, Vec<TensorSpec>), Refused> {
    if graph.output.is_empty() {
        return Err(Refused::Malformed("its graph has no outputs".into()));
    }
    let mut sources = Vec::new();
    let mut specs = Vec::new();
    for output in &graph.output {
        let malformed = |detail: String| Refused::Malformed(format!("output '{}': {detail}", output.name));
        let place = *values.places.get(&output.name).ok_or_else(|| malformed("no node produces it".into()))?;
        let inferred = values.argument(place).value;
        let declared = declared_type(output).map_err(malformed)?;
        if let Some(declared) = &declared
            && declared.element != inferred.element
        {
            return Err(malformed(format!(
                "declared as {:?}, but the graph computes {:?}",
                declared.element, inferred.element
            )));
        }
        let shape =
            inferred.shape.or_else(|| declared?.shape.filter(|shape| !shape.is_empty())).unwrap_or_else(|| vec![None]);
        specs.push(TensorSpec { name: output.name.clone(), element_type: inferred.element, shape });
        sources.push(place.source());
    }
    Ok((sources, specs))
}

fn slots_of(sources: &[Source]) -> impl Iterator<Item = usize> {
    sources.iter().filter_map(|source| match *source {
        Source::Slot { slot, .. } => Some(slot),
        Source::Constant(_) | Source::Absent => None,
    })
}

/// What leads to no output is not run.
fn drop_unread_steps(plan: &mut Plan) {
    let mut read = vec![false; plan.slots];
    slots_of(&plan.outputs).for_each(|slot| read[slot] = true);
    let mut kept: Vec<Step> = Vec::with_capacity(plan.steps.len());
    for mut step in std::mem::take(&mut plan.steps).into_iter().rev() {
        for output in &mut step.outputs {
            *output = output.filter(|&slot| read[slot]);
        }
        if step.outputs.iter().any(Option::is_some) {
            slots_of(&step.inputs).for_each(|slot| read[slot] = true);
            kept.push(step);
        }
    }
    kept.reverse();
    plan.steps = kept;
}

/// The last reader of a slot may consume its tensor. A node that reads a slot twice may not.
fn mark_last_reads(plan: &mut Plan) {
    let mut read_later = vec![false; plan.slots];
    let mut readings = vec![0_u32; plan.slots];
    let lists = std::iter::once(&mut plan.outputs).chain(plan.steps.iter_mut().rev().map(|step| &mut step.inputs));
    for sources in lists {
        slots_of(sources).for_each(|slot| readings[slot] += 1);
        for source in sources.iter_mut() {
            if let Source::Slot { slot, last } = source {
                *last = !read_later[*slot] && readings[*slot] == 1;
            }
        }
        for slot in slots_of(sources) {
            readings[slot] = 0;
            read_later[slot] = true;
        }
    }
}
