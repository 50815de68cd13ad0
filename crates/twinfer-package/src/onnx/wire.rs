//! Protobuf's wire format (protobuf.dev, "Encoding"): which field is where.

use std::io::{BufReader, Read};

use twinfer::{Result, bail, err};

use crate::content::{Content, ReadSeek};

/// A field of a message, by its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Its number in the schema.
    pub number: u64,
    /// Where its tag begins.
    pub start: u64,
    /// Where its tag ends.
    pub tag_end: u64,
    /// Where its value begins.
    pub value: u64,
    /// Where it ends.
    pub end: u64,
    /// The number, where the value is one.
    pub varint: Option<u64>,
    /// Whether the value is bytes with their length before them.
    pub bytes: bool,
}

/// Reads the fields of messages in a file, jumping over their values.
pub(super) struct Wire {
    input: BufReader<Box<dyn ReadSeek>>,
    at: u64,
    length: u64,
}

impl Wire {
    pub(super) fn new(content: &Content) -> Result<Self> {
        Ok(Self {
            input: BufReader::with_capacity(64 << 10, content.seeker()?),
            at: 0,
            length: content.length(),
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn go_to(&mut self, position: u64) -> Result<()> {
        // Within a model file, whose length is far below 2^63.
        let step = position as i64 - self.at as i64;
        self.input
            .seek_relative(step)
            .map_err(|e| err!(Storage, "cannot read the model file: {e}"))?;
        self.at = position;
        Ok(())
    }

    fn varint(&mut self, end: u64) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                bail!(InvalidModel, "a number is cut off at byte {end}");
            }
            let mut byte = [0];
            self.input
                .read_exact(&mut byte)
                .map_err(|e| err!(InvalidModel, "the model file ends early: {e}"))?;
            self.at += 1;
            let bits = u64::from(byte[0] & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!(InvalidModel, "a number before byte {} is too long", self.at)
    }

    /// The fields of the message that lies between these places.
    ///
    /// # Errors
    /// `invalid_model` for what is no message; `storage`.
    pub(super) fn fields(
        &mut self,
        start: u64,
        end: u64,
        mut each: impl FnMut(Field),
    ) -> Result<()> {
        self.go_to(start)?;
        while self.at < end {
            let start = self.at;
            let tag = self.varint(end)?;
            let mut field = Field {
                number: tag >> 3,
                start,
                tag_end: self.at,
                value: self.at,
                end: self.at,
                varint: None,
                bytes: false,
            };
            let length = match tag & 7 {
                0 => {
                    field.varint = Some(self.varint(end)?);
                    self.at - field.value
                }
                1 => 8,
                2 => {
                    let length = self.varint(end)?;
                    field.bytes = true;
                    field.value = self.at;
                    length
                }
                5 => 4,
                other => bail!(InvalidModel, "byte {start} has the wire type {other}"),
            };
            let room = end - field.value;
            if length > room || field.number == 0 {
                bail!(
                    InvalidModel,
                    "the field at byte {start} claims {length} bytes, {room} are left"
                );
            }
            field.end = field.value + length;
            self.go_to(field.end)?;
            each(field);
        }
        Ok(())
    }

    /// The value of a field that is short.
    pub(super) fn value(&mut self, field: &Field) -> Result<Vec<u8>> {
        const LONGEST: u64 = 64 << 10;
        let length = field.end - field.value;
        if length > LONGEST {
            bail!(InvalidModel, "a text has {length} bytes");
        }
        self.go_to(field.value)?;
        let mut bytes = vec![0; length as usize];
        self.input
            .read_exact(&mut bytes)
            .map_err(|e| err!(InvalidModel, "the model file ends early: {e}"))?;
        self.at = field.end;
        Ok(bytes)
    }
}

/// A number as protobuf writes it.
pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Tag and length of a field with bytes in it.
pub(super) fn bytes_head(number: u64, length: u64) -> Vec<u8> {
    let mut head = varint(number << 3 | 2);
    head.extend(varint(length));
    head
}
