//! Inputs that are no tensors. The protocol has tensors only: such an input is a tensor of BYTES with
//! its JSON, in the form in which an output of that kind comes.

use serde_json::Value as Json;
use twinfer::{
    Result, Signature, Tensor, TensorSpec, Value, ValueKind, bail, err, value_from_json,
};

/// What a model gets for a tensor of a request: that tensor, or what its JSON says where the model takes
/// a map, a sequence or an optional.
///
/// # Errors
/// `wrong_dtype` for a tensor that is no text, `wrong_shape` for several texts of what is one value,
/// `invalid_json`; those of [`value_from_json`].
pub(crate) fn value_of(signature: &Signature, name: &str, tensor: Tensor) -> Result<Value> {
    let spec = signature.inputs.iter().find(|spec| spec.name == name);
    match spec {
        Some(spec) if spec.kind != ValueKind::Tensor => from_text(spec, &tensor),
        _ => Ok(Value::Tensor(tensor)),
    }
}

fn from_text(spec: &TensorSpec, tensor: &Tensor) -> Result<Value> {
    let Some(texts) = tensor.strings() else {
        bail!(
            WrongDtype,
            "input `{}` is no tensor for this model: give its JSON as one text of BYTES, got {}",
            spec.name,
            tensor.dtype()
        );
    };
    let json = match texts {
        [one] => read(spec, one)?,
        // One text for each map.
        maps if spec.kind == ValueKind::Maps => {
            let maps = maps.iter().map(|map| read(spec, map));
            maps.collect::<Result<Json>>()?
        }
        _ => bail!(
            WrongShape,
            "input `{}` is one text with JSON, got {} texts",
            spec.name,
            texts.len()
        ),
    };
    value_from_json(spec, &json)
}

fn read(spec: &TensorSpec, text: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|e| {
        err!(
            InvalidJson,
            "input `{}`: the text is not JSON: {e}",
            spec.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::{DType, ErrorCode, value_to_json};

    fn given(kind: ValueKind, texts: &[&str]) -> Result<Value> {
        let spec = TensorSpec {
            name: "x".into(),
            kind,
            dtype: DType::F32,
            shape: None,
            keys: None,
        };
        let signature = Signature {
            inputs: vec![spec],
            optional: vec![],
            outputs: Vec::new(),
        };
        let texts = texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>();
        let tensor = Tensor::from_strings(&[texts.len()], texts)?;
        value_of(&signature, "x", tensor)
    }

    #[test]
    fn an_output_can_be_given_as_an_input() {
        for (kind, text) in [
            (ValueKind::Sequence, r#"[[1.5,"NaN"],[[2.0]]]"#),
            (ValueKind::Optional, "null"),
            (ValueKind::Optional, "[1.0]"),
            (ValueKind::Maps, r#"[{"a":1.0},{"a":2.0}]"#),
        ] {
            let value = given(kind, &[text]).unwrap();
            assert_eq!(value_to_json(&value).unwrap().to_string(), text);
        }
        let two = given(ValueKind::Maps, &[r#"{"a":1.0}"#, r#"{"a":2.0}"#]).unwrap();
        let json = value_to_json(&two).unwrap().to_string();
        assert_eq!(json, r#"[{"a":1.0},{"a":2.0}]"#);
        assert!(matches!(
            given(ValueKind::Tensor, &["x"]),
            Ok(Value::Tensor(_))
        ));
    }

    #[test]
    fn what_is_no_json_of_it_is_refused() {
        for (texts, code) in [
            (&["[1"][..], ErrorCode::InvalidJson),
            (&["1"], ErrorCode::InvalidInput),
            (&["[1]", "[2]"], ErrorCode::WrongShape),
            (&[], ErrorCode::WrongShape),
        ] {
            let error = given(ValueKind::Sequence, texts).unwrap_err();
            assert_eq!(error.code(), code, "{texts:?}: {error}");
        }
    }
}
