//! A node of a graph as its operator reads it: attributes with their defaults, and what it knows of
//! its surroundings.

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::tensors;
use crate::{Result, Tensor, bail, err};

/// A node, while an operator is made of it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    proto: &'a NodeProto,
    /// The version of the operator set of its domain.
    version: i64,
}

impl<'a> Node<'a> {
    pub(super) fn new(proto: &'a NodeProto, version: i64) -> Self {
        Self { proto, version }
    }

    /// The version of the operator set of its domain, which its meaning depends on.
    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// The name of the operator.
    pub(crate) fn operator(&self) -> &'a str {
        &self.proto.op_type
    }

    /// Its name; where it has none, that of its first output.
    pub(crate) fn name(&self) -> &'a str {
        match (&*self.proto.name, self.proto.output.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        }
    }

    /// How many outputs it has, with those in between that nobody reads.
    pub(crate) fn outputs(&self) -> usize {
        self.proto.output.len()
    }

    /// Whether anybody could read this output.
    pub(crate) fn has_output(&self, index: usize) -> bool {
        (self.proto.output.get(index)).is_some_and(|name| !name.is_empty())
    }

    fn find(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name == name)
    }

    /// Whether the attribute is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// An integer, where it is there.
    pub(crate) fn int_opt(&self, name: &str) -> Option<i64> {
        self.find(name).map(|a| a.i)
    }

    /// An integer.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.int_opt(name).unwrap_or(default)
    }

    /// An integer that says yes or no.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.int_opt(name).map_or(default, |i| i != 0)
    }

    /// A number, where it is there.
    pub(crate) fn float_opt(&self, name: &str) -> Option<f32> {
        self.find(name).map(|a| a.f)
    }

    /// A number.
    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.float_opt(name).unwrap_or(default)
    }

    /// A list of integers, where it is there.
    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.find(name).map(|a| &a.ints[..])
    }

    /// A list of numbers, where it is there.
    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.find(name).map(|a| &a.floats[..])
    }

    /// Text, where it is there.
    ///
    /// # Errors
    /// `invalid_model` for bytes that are no UTF-8.
    pub(crate) fn text_opt(&self, name: &str) -> Result<Option<&'a str>> {
        let Some(attribute) = self.find(name) else {
            return Ok(None);
        };
        match std::str::from_utf8(&attribute.s) {
            Ok(text) => Ok(Some(text)),
            Err(_) => bail!(InvalidModel, "attribute `{name}` is no text"),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// As [`Node::text_opt`].
    pub(crate) fn text(&self, name: &str, default: &'a str) -> Result<&'a str> {
        Ok(self.text_opt(name)?.unwrap_or(default))
    }

    /// A list of texts, where it is there.
    ///
    /// # Errors
    /// `invalid_model` for bytes that are no UTF-8.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(attribute) = self.find(name) else {
            return Ok(None);
        };
        let texts = attribute.strings.iter().map(|bytes| {
            String::from_utf8(bytes.clone()).map_err(|_| {
                err!(
                    InvalidModel,
                    "attribute `{name}` has bytes that are no text"
                )
            })
        });
        texts.collect::<Result<_>>().map(Some)
    }

    /// A tensor, where it is there.
    ///
    /// # Errors
    /// `invalid_model`, `unsupported_dtype` for a malformed one.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let tensor: Option<&TensorProto> = self.find(name).and_then(|a| a.t.as_ref());
        tensor.map(tensors::read).transpose()
    }

    /// A graph, where it is there.
    pub(crate) fn graph(&self, name: &str) -> Option<&'a GraphProto> {
        self.find(name).and_then(|a| a.g.as_ref())
    }

    /// What cannot be done without.
    ///
    /// # Errors
    /// `invalid_model`.
    pub(crate) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| err!(InvalidModel, "attribute `{name}` is missing"))
    }

    /// The error for a form of an operator that is not there yet.
    ///
    /// # Errors
    /// Always `unsupported_operator`.
    pub(crate) fn unsupported<T>(&self, what: impl std::fmt::Display) -> Result<T> {
        bail!(
            UnsupportedOperator,
            "operator `{}` (version {}): {what} is not supported",
            self.operator(),
            self.version
        )
    }
}
