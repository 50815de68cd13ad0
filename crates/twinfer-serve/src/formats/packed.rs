//! CBOR (RFC 8949) and MessagePack, read into what JSON can say.
//!
//! Bytes become `{"base64": "…"}`, and what JSON has no number for its words (`"NaN"`): the forms
//! that the same values have in JSON, so that everything behind reads one form.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde_json::{Map, Value as Json, json};
use twinfer::{Result, bail, err, number_to_json};

/// As deep as JSON is read.
const MAX_DEPTH: usize = 100;

/// # Errors
/// `invalid_request` for what is not one CBOR item of these kinds.
pub(crate) fn read_cbor(body: &[u8]) -> Result<Json> {
    let mut rest = body;
    let read: std::result::Result<Plain, _> =
        ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH);
    match read {
        Ok(_) if !rest.is_empty() => bail!(
            InvalidRequest,
            "after the CBOR item there are {} bytes more",
            rest.len()
        ),
        Ok(Plain(value)) => Ok(value),
        Err(e) => bail!(InvalidRequest, "the body is not CBOR that can be read: {e}"),
    }
}

/// # Errors
/// `invalid_request` for what is not one MessagePack object of these kinds.
pub(crate) fn read_msgpack(body: &[u8]) -> Result<Json> {
    let mut rest = body;
    let read = {
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        reader.set_max_depth(MAX_DEPTH);
        Deep(MAX_DEPTH).deserialize(&mut reader)
    };
    match read {
        Ok(_) if !rest.is_empty() => bail!(
            InvalidRequest,
            "after the MessagePack object there are {} bytes more",
            rest.len()
        ),
        Ok(value) => Ok(value),
        Err(e) => bail!(
            InvalidRequest,
            "the body is not MessagePack that can be read: {e}"
        ),
    }
}

/// # Errors
/// `internal` for what has no form in CBOR: nothing that serialises to JSON.
pub(crate) fn write_cbor(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body)
        .map_err(|e| err!(Internal, "the answer cannot be written as CBOR: {e}"))?;
    Ok(body)
}

/// # Errors
/// As for [`write_cbor`].
pub(crate) fn write_msgpack(value: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(value)
        .map_err(|e| err!(Internal, "the answer cannot be written as MessagePack: {e}"))
}

/// A value of any format that says what it is.
struct Plain(Json);

impl<'de> serde::Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Deep(MAX_DEPTH).deserialize(deserializer).map(Plain)
    }
}

/// Reads a value that is at most this deep.
#[derive(Clone, Copy)]
struct Deep(usize);

impl Deep {
    fn below<E: serde::de::Error>(self) -> std::result::Result<Self, E> {
        let below = self.0.checked_sub(1);
        below
            .map(Self)
            .ok_or_else(|| E::custom(format!("it is nested deeper than {MAX_DEPTH}")))
    }
}

impl<'de> DeserializeSeed<'de> for Deep {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Deep {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has, or bytes")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Json, E> {
        Ok(number_to_json(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Json, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Json, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> std::result::Result<Json, E> {
        Ok(json!({"base64": STANDARD.encode(value)}))
    }

    fn visit_unit<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> std::result::Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Json, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Json, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Json, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Deep(0))? {
            let Json::String(key) = key else {
                return Err(A::Error::custom("a key of a map is not a text"));
            };
            let value = entries.next_value_seed(below)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is there twice in one map"));
            }
        }
        Ok(Json::Object(map))
    }

    /// Tags of CBOR and extensions of MessagePack come so.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> std::result::Result<Json, A::Error> {
        let (_, variant) = data.variant::<serde::de::IgnoredAny>()?;
        let _ = variant.newtype_variant::<serde::de::IgnoredAny>();
        Err(A::Error::custom("tags and extensions are not taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn cbor_as_in_the_appendix_of_its_rfc() {
        for (bytes, wanted) in [
            (&[0x18, 0x64][..], json!(100)),
            (&[0x39, 0x03, 0xe7], json!(-1000)),
            (&[0xf9, 0x3e, 0x00], json!(1.5)),
            (&[0xf9, 0x7e, 0x00], json!("NaN")),
            (&[0xfa, 0xff, 0x80, 0x00, 0x00], json!("-Infinity")),
            (&[0x44, 1, 2, 3, 4], json!({"base64": "AQIDBA=="})),
            (&[0x83, 1, 2, 3], json!([1, 2, 3])),
            (&[0x9f, 1, 0xf6, 0xff], json!([1, null])),
            (&[0xa1, 0x61, b'a', 0xf5], json!({"a": true})),
        ] {
            assert_eq!(read_cbor(bytes).unwrap(), wanted, "{bytes:?}");
        }
        for bad in [
            &[][..],
            &[0x83, 1],
            &[1, 2],
            &[0xa1, 1, 2],
            &[0xc0, 0x61, b'x'],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x81; 5000],
        ] {
            let error = read_cbor(bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{error}");
        }
    }

    #[test]
    fn msgpack() {
        for (bytes, wanted) in [
            (&[0xd1, 0xfc, 0x18][..], json!(-1000)),
            (&[0xca, 0x3f, 0xc0, 0, 0], json!(1.5)),
            (&[0xc4, 4, 1, 2, 3, 4], json!({"base64": "AQIDBA=="})),
            (&[0x92, 0xc0, 0xc3], json!([null, true])),
            (&[0x81, 0xa1, b'a', 0x07], json!({"a": 7})),
        ] {
            assert_eq!(read_msgpack(bytes).unwrap(), wanted, "{bytes:?}");
        }
        for bad in [
            &[][..],
            &[0x92, 1],
            &[1, 2],
            &[0x81, 1, 2],
            &[0xd4, 1, 2],
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
            &[0xc6, 0xff, 0xff, 0xff, 0xff],
            &[0x91; 5000],
        ] {
            let error = read_msgpack(bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({"a": [1, -2, 1.5, null, true, "x"], "b": {}});
        assert_eq!(read_cbor(&write_cbor(&value).unwrap()).unwrap(), value);
        assert_eq!(
            read_msgpack(&write_msgpack(&value).unwrap()).unwrap(),
            value
        );
    }
}
