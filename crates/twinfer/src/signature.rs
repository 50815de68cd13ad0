//! The signature of a model: named, typed, shaped inputs and outputs.

use serde::{Deserialize, Serialize};

use crate::{DType, MapKeys, Maps, Result, Tensor, Tensors, Value, bail};

/// One axis of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Dim {
    /// A fixed number of elements.
    Fixed(#[cfg_attr(feature = "schema", ts(type = "number"))] usize),
    /// A free axis with a name; axes of the same name agree within a call.
    Symbol(String),
    /// A free axis without a name; `null` in JSON.
    Free,
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Free => f.write_str("?"),
        }
    }
}

/// An input of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TensorSpec {
    /// The name, as in the model file.
    pub name: String,
    /// A tensor, maps, a sequence or an optional.
    #[serde(default, skip_serializing_if = "ValueKind::is_tensor")]
    #[cfg_attr(feature = "schema", ts(as = "Option<ValueKind>", optional))]
    pub kind: ValueKind,
    /// The data type of the elements.
    pub dtype: DType,
    /// The axes, outermost first; absent when even the rank is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<Dim>>,
    /// Of maps, the type of their keys: `INT64` or `BYTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub keys: Option<DType>,
}

/// What kind of value an input or output is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub enum ValueKind {
    /// A tensor.
    #[default]
    Tensor,
    /// A map, or a sequence of maps. Of an output (ZipMap) dtype and shape are those of the
    /// numbers, `[rows, labels]`; of an input (DictVectorizer) dtype is that of the values.
    Maps,
    /// A sequence; dtype is that of the elements of its tensors.
    Sequence,
    /// A value that may be missing; dtype is that of the elements of the tensors in it.
    Optional,
}

impl ValueKind {
    pub(crate) fn is_tensor(&self) -> bool {
        *self == Self::Tensor
    }

    fn is_of(self, value: &Value) -> bool {
        match value {
            Value::Tensor(_) => self == Self::Tensor,
            Value::Maps(_) => self == Self::Maps,
            Value::Sequence(_) => self == Self::Sequence,
            Value::Optional(_) => self == Self::Optional,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tensor => "a tensor",
            Self::Maps => "maps (ZipMap)",
            Self::Sequence => "a sequence",
            Self::Optional => "an optional",
        }
    }
}

/// An output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct OutputSpec {
    /// The name, as in the model file.
    pub name: String,
    /// A tensor, maps, a sequence or an optional.
    #[serde(default)]
    pub kind: ValueKind,
    /// The data type of the elements.
    pub dtype: DType,
    /// The axes, outermost first; absent when the model file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<Dim>>,
}

/// Named, typed, shaped inputs and outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Signature {
    /// What the model takes; every one is required.
    pub inputs: Vec<TensorSpec>,
    /// What may be given as well: each has a default in the model file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<TensorSpec>>", optional))]
    pub optional: Vec<TensorSpec>,
    /// What the model gives.
    pub outputs: Vec<OutputSpec>,
}

/// A shape for people: `[N, 3, 240, 320]`.
pub(crate) fn show_shape(shape: &Option<Vec<Dim>>) -> String {
    match shape {
        None => "[any rank]".into(),
        Some(dims) => {
            format!(
                "[{}]",
                dims.iter()
                    .map(Dim::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

impl Signature {
    /// Puts the inputs into the order of the signature and checks each: name, data type,
    /// rank, fixed axes, and axes of the same name against each other. The optional ones come after
    /// the others, as `None` where they are not given.
    ///
    /// # Errors
    /// `missing_input`, `unknown_input`, `wrong_dtype`, `wrong_shape`; `invalid_input`
    /// for a name that is given twice.
    pub fn check(&self, given: Tensors) -> Result<Vec<Option<Tensor>>> {
        let given = given.into_iter();
        let values = self.check_values(given.map(|(n, t)| (n, Value::Tensor(t))).collect())?;
        let tensors = values.into_iter().map(|value| match value {
            Some(Value::Tensor(tensor)) => Ok(Some(tensor)),
            None => Ok(None),
            _ => bail!(Internal, "a tensor became something else"),
        });
        tensors.collect()
    }

    /// The same for values of any kind. Of sequences and optionals the kind is checked, and not
    /// what is in them. Maps whose keys are texts of whole numbers become those with integers, where
    /// the model has integers.
    ///
    /// # Errors
    /// Those of [`Signature::check`]; `invalid_input` for a value of another kind, or for keys that
    /// are no integers.
    pub fn check_values(&self, mut given: Vec<(String, Value)>) -> Result<Vec<Option<Value>>> {
        let mut ordered = Vec::with_capacity(self.inputs.len() + self.optional.len());
        let mut symbols: Vec<(&str, usize, &str)> = Vec::new();
        let required = self.inputs.iter().map(|spec| (spec, true));
        let optional = self.optional.iter().map(|spec| (spec, false));
        for (spec, is_required) in required.chain(optional) {
            let Some(at) = given.iter().position(|(name, _)| *name == spec.name) else {
                if !is_required {
                    ordered.push(None);
                    continue;
                }
                bail!(
                    MissingInput,
                    "input `{}` ({} {}) is missing; the model takes {}",
                    spec.name,
                    spec.dtype,
                    show_shape(&spec.shape),
                    self.input_names()
                );
            };
            let (_, mut value) = given.swap_remove(at);
            if !spec.kind.is_of(&value) {
                let kind = match spec.kind {
                    ValueKind::Maps => "a map, or a list of maps",
                    kind => kind.name(),
                };
                bail!(InvalidInput, "input `{}` must be {kind}", spec.name);
            }
            if let Value::Tensor(tensor) = &value {
                spec.check(tensor, &mut symbols)?;
            }
            if let Value::Maps(maps) = &mut value {
                let checked = spec.check_maps(maps);
                checked.map_err(|e| e.context(format!("input `{}`", spec.name)))?;
            }
            ordered.push(Some(value));
        }
        if let Some((name, _)) = given.first() {
            if self.input(name).is_some() {
                bail!(InvalidInput, "input `{name}` is given twice");
            }
            bail!(
                UnknownInput,
                "there is no input `{name}`; the model takes {}",
                self.input_names()
            );
        }
        Ok(ordered)
    }

    /// The input of this name, whether it is required or optional.
    pub fn input(&self, name: &str) -> Option<&TensorSpec> {
        let mut all = self.inputs.iter().chain(&self.optional);
        all.find(|spec| spec.name == name)
    }

    fn input_names(&self) -> String {
        let names = |specs: &[TensorSpec]| {
            let names = specs.iter().map(|spec| format!("`{}`", spec.name));
            names.collect::<Vec<_>>().join(", ")
        };
        match &self.optional[..] {
            [] => names(&self.inputs),
            optional => format!(
                "{} and, where it is given, {}",
                names(&self.inputs),
                names(optional)
            ),
        }
    }
}

impl TensorSpec {
    fn check_maps(&self, maps: &mut Maps) -> Result<()> {
        if maps.values.dtype() != self.dtype {
            bail!(
                WrongDtype,
                "the values of the maps must be {}, got {}",
                self.dtype,
                maps.values.dtype()
            );
        }
        if !matches!(*maps.values.shape(), [_, columns] if columns == maps.keys.len()) {
            bail!(
                WrongShape,
                "there are {} keys for values of shape {:?}",
                maps.keys.len(),
                maps.values.shape()
            );
        }
        match (&maps.keys, self.keys) {
            (MapKeys::Strings(keys), Some(DType::I64)) => maps.keys = MapKeys::ints_of(keys)?,
            (MapKeys::Ints(_), Some(DType::String)) => bail!(
                WrongDtype,
                "the keys of the maps must be texts, got whole numbers"
            ),
            _ => {}
        }
        Ok(())
    }

    fn check<'a>(
        &'a self,
        tensor: &Tensor,
        symbols: &mut Vec<(&'a str, usize, &'a str)>,
    ) -> Result<()> {
        let name = &self.name;
        if tensor.dtype() != self.dtype {
            bail!(
                WrongDtype,
                "input `{name}` must be {}, got {}",
                self.dtype,
                tensor.dtype()
            );
        }
        let Some(dims) = &self.shape else {
            return Ok(());
        };
        let wanted = show_shape(&self.shape);
        let got = tensor.shape();
        if dims.len() != got.len() {
            bail!(
                WrongShape,
                "input `{name}` must have {} axes {wanted}, got {} axes {got:?}",
                dims.len(),
                got.len()
            );
        }
        for (axis, (dim, &length)) in dims.iter().zip(got).enumerate() {
            match dim {
                Dim::Fixed(fixed) if *fixed != length => {
                    bail!(
                        WrongShape,
                        "input `{name}` must have shape {wanted}, got {got:?}: axis {axis} must be {fixed}"
                    );
                }
                Dim::Symbol(symbol) => match symbols.iter().find(|(known, _, _)| known == symbol) {
                    Some((_, known, input)) if *known != length => bail!(
                        WrongShape,
                        "axis {axis} of input `{name}` is {length}, but `{symbol}` is {known} in input `{input}`: they must agree"
                    ),
                    Some(_) => {}
                    None => symbols.push((symbol, length, name)),
                },
                Dim::Fixed(_) | Dim::Free => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode::{self, *};

    fn signature() -> Signature {
        let input = |name: &str, shape| TensorSpec {
            name: name.into(),
            kind: ValueKind::Tensor,
            dtype: DType::F32,
            shape,
            keys: None,
        };
        Signature {
            inputs: vec![
                input("a", Some(vec![Dim::Symbol("N".into()), Dim::Fixed(2)])),
                input("b", Some(vec![Dim::Symbol("N".into()), Dim::Free])),
            ],
            optional: vec![input("o", Some(vec![Dim::Fixed(1)]))],
            outputs: vec![],
        }
    }

    fn f32s(name: &str, shape: &[usize]) -> (String, Tensor) {
        let n = shape.iter().product();
        (name.into(), Tensor::from_vec(shape, vec![0f32; n]).unwrap())
    }

    #[test]
    fn inputs_are_put_into_the_order_of_the_signature() {
        let ordered = signature()
            .check(vec![f32s("b", &[3, 5]), f32s("a", &[3, 2])])
            .unwrap();
        let shapes = |ordered: &[Option<Tensor>]| -> Vec<Option<Vec<usize>>> {
            let shape = |tensor: &Option<Tensor>| tensor.as_ref().map(|t| t.shape().to_vec());
            ordered.iter().map(shape).collect()
        };
        let (a, b) = (Some(vec![3, 2]), Some(vec![3, 5]));
        assert_eq!(shapes(&ordered), [a.clone(), b.clone(), None]);
        let ordered = signature()
            .check(vec![
                f32s("b", &[3, 5]),
                f32s("o", &[1]),
                f32s("a", &[3, 2]),
            ])
            .unwrap();
        assert_eq!(shapes(&ordered), [a, b, Some(vec![1])]);
    }

    #[test]
    fn every_wrong_input_has_its_code() {
        let ints = (
            "a".to_string(),
            Tensor::from_vec(&[3, 2], vec![0i64; 6]).unwrap(),
        );
        let cases: Vec<(&str, Tensors, ErrorCode)> = vec![
            ("missing", vec![f32s("a", &[3, 2])], MissingInput),
            (
                "unknown",
                vec![f32s("a", &[3, 2]), f32s("b", &[3, 1]), f32s("c", &[1])],
                UnknownInput,
            ),
            (
                "twice",
                vec![f32s("a", &[3, 2]), f32s("b", &[3, 1]), f32s("a", &[3, 2])],
                InvalidInput,
            ),
            ("dtype", vec![ints, f32s("b", &[3, 1])], WrongDtype),
            (
                "rank",
                vec![f32s("a", &[3]), f32s("b", &[3, 1])],
                WrongShape,
            ),
            (
                "axis",
                vec![f32s("a", &[3, 4]), f32s("b", &[3, 1])],
                WrongShape,
            ),
            (
                "symbol",
                vec![f32s("a", &[3, 2]), f32s("b", &[4, 1])],
                WrongShape,
            ),
            (
                "optional",
                vec![f32s("a", &[3, 2]), f32s("b", &[3, 1]), f32s("o", &[2])],
                WrongShape,
            ),
        ];
        for (what, given, code) in cases {
            assert_eq!(signature().check(given).unwrap_err().code(), code, "{what}");
        }
    }

    #[test]
    fn a_shape_reads_and_writes_as_numbers_names_and_null() {
        let json = r#"["N",3,null]"#;
        let dims: Vec<Dim> = serde_json::from_str(json).unwrap();
        assert_eq!(dims, [Dim::Symbol("N".into()), Dim::Fixed(3), Dim::Free]);
        assert_eq!(serde_json::to_string(&dims).unwrap(), json);
    }
}
