//! Where the tensors of a model file are (onnx.proto: `ModelProto.graph` 7,
//! `GraphProto.initializer` 5, `TensorProto`).

use twinfer::{Result, bail, err};

use super::wire::{Field, Wire};
use crate::content::Content;

pub(super) const GRAPH: u64 = 7;
pub(super) const INITIALIZER: u64 = 5;
const DATA_TYPE: u64 = 2;
pub(super) const FLOAT_DATA: u64 = 4;
pub(super) const RAW_DATA: u64 = 9;
pub(super) const DOUBLE_DATA: u64 = 10;
pub(super) const EXTERNAL_DATA: u64 = 13;
pub(super) const DATA_LOCATION: u64 = 14;
/// `TensorProto.DataType.FLOAT` and `DOUBLE`.
const FLOAT: u64 = 1;
const DOUBLE: u64 = 11;

/// The tensors of a model file.
#[derive(Debug)]
pub(super) struct Scan {
    pub graph: Field,
    pub tensors: Vec<TensorFields>,
}

/// An initializer, by its fields.
#[derive(Debug)]
pub(super) struct TensorFields {
    /// The whole, as a field of the graph.
    pub field: Field,
    pub data_type: Option<u64>,
    /// Everything that may hold the elements as they would be in `raw_data`.
    pub payload: Vec<Field>,
    /// `external_data` and `data_location`, in the order of the file.
    pub outside: Vec<Field>,
    /// What the entries of `external_data` say.
    pub place: Option<Place>,
}

/// A place outside of the model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub location: String,
    pub offset: u64,
    pub length: Option<u64>,
}

impl TensorFields {
    /// The field with the elements, where there is exactly one and its bytes are those that
    /// `raw_data` has: `raw_data` itself, and numbers of 32 or 64 bits in the typed fields,
    /// which protobuf packs in little-endian order.
    pub(super) fn elements(&self) -> Option<&Field> {
        let [field] = self.payload.as_slice() else {
            return None;
        };
        let fits = field.number == RAW_DATA || Some(field.number) == self.typed();
        (fits && field.bytes).then_some(field)
    }

    /// The typed field whose bytes are those of `raw_data`, for this data type.
    pub(super) fn typed(&self) -> Option<u64> {
        match self.data_type {
            Some(FLOAT) => Some(FLOAT_DATA),
            Some(DOUBLE) => Some(DOUBLE_DATA),
            _ => None,
        }
    }
}

/// Finds the tensors.
///
/// # Errors
/// `invalid_model` for what is no model file, or has more than one graph; `storage`.
pub(super) fn scan(model: &Content) -> Result<Scan> {
    let mut wire = Wire::new(model)?;
    let mut graphs = Vec::new();
    wire.fields(0, wire.length(), |field| {
        if field.number == GRAPH && field.bytes {
            graphs.push(field);
        }
    })?;
    let [graph] = graphs[..] else {
        bail!(InvalidModel, "the model file has {} graphs", graphs.len());
    };
    let mut found = Vec::new();
    wire.fields(graph.value, graph.end, |field| {
        if field.number == INITIALIZER && field.bytes {
            found.push(field);
        }
    })?;
    let tensors = found.into_iter().map(|field| tensor(&mut wire, field));
    Ok(Scan {
        graph,
        tensors: tensors.collect::<Result<_>>()?,
    })
}

fn tensor(wire: &mut Wire, field: Field) -> Result<TensorFields> {
    let mut tensor = TensorFields {
        field,
        data_type: None,
        payload: Vec::new(),
        outside: Vec::new(),
        place: None,
    };
    wire.fields(field.value, field.end, |field| match field.number {
        DATA_TYPE => tensor.data_type = field.varint,
        FLOAT_DATA | RAW_DATA | DOUBLE_DATA => tensor.payload.push(field),
        EXTERNAL_DATA | DATA_LOCATION => tensor.outside.push(field),
        _ => {}
    })?;
    tensor.place = place(wire, &tensor.outside)?;
    Ok(tensor)
}

fn place(wire: &mut Wire, outside: &[Field]) -> Result<Option<Place>> {
    let mut place = Place {
        location: String::new(),
        offset: 0,
        length: None,
    };
    for entry in outside.iter().filter(|f| f.number == EXTERNAL_DATA) {
        let mut parts = Vec::new();
        wire.fields(entry.value, entry.end, |part| parts.push(part))?;
        let mut text = |number: u64| -> Result<String> {
            let part = parts.iter().rev().find(|p| p.number == number && p.bytes);
            let bytes = part.map(|p| wire.value(p)).transpose()?;
            String::from_utf8(bytes.unwrap_or_default())
                .map_err(|_| err!(InvalidModel, "external data is not UTF-8"))
        };
        let (key, value) = (text(1)?, text(2)?);
        let number = || {
            value.parse::<u64>().map_err(|_| {
                err!(
                    InvalidModel,
                    "external data has {key} `{}`, which is not a number of bytes",
                    crate::digest::shorten(&value)
                )
            })
        };
        match key.as_str() {
            "location" => place.location = value,
            "offset" => place.offset = number()?,
            "length" => place.length = Some(number()?),
            _ => {}
        }
    }
    Ok(Some(place).filter(|place| !place.location.is_empty()))
}
