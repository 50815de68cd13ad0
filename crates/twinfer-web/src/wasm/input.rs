//! Inputs of a pipeline.

use serde_json::{Map, Value as Json};
use twinfer::{Audio, Input, Parameters, Picture, Result, err};
use wasm_bindgen::prelude::*;
use web_sys::ImageData;

use super::TensorList;
use super::error::to_js as thrown;

/// An input of a pipeline, in the wasm memory. A call uses it up.
#[wasm_bindgen]
pub struct WebInput {
    pub(super) input: Input,
}

#[wasm_bindgen]
impl WebInput {
    /// The bytes of a PNG, JPEG or WebP file.
    pub fn picture(bytes: Vec<u8>) -> WebInput {
        Input::Picture(Picture::Encoded(bytes)).into()
    }

    /// Pixels of four bytes, row by row: an `ImageData`, or any object with its `width`,
    /// `height` and `data`.
    pub fn pixels(image: &ImageData) -> WebInput {
        let (width, height) = (image.width(), image.height());
        Input::Picture(Picture::Rgba {
            width,
            height,
            pixels: image.data().0,
        })
        .into()
    }

    /// Any bytes.
    pub fn bytes(bytes: Vec<u8>) -> WebInput {
        Input::Bytes(bytes).into()
    }

    /// The bytes of a WAV file.
    pub fn audio(bytes: Vec<u8>) -> WebInput {
        Input::Audio(Audio::Encoded(bytes)).into()
    }

    /// Samples from -1 to 1, one channel after the other, all of the same length.
    pub fn samples(sample_rate: u32, channels: u32, samples: Vec<f32>) -> WebInput {
        Input::Audio(Audio::Samples {
            sample_rate,
            channels,
            samples,
        })
        .into()
    }

    /// Texts, one or several.
    pub fn text(texts: Vec<String>) -> WebInput {
        Input::Text(texts).into()
    }

    /// A record: a plain object.
    ///
    /// # Errors
    /// `invalid_record` for anything else.
    pub fn record(object: JsValue) -> Result<WebInput, JsValue> {
        let record: Map<String, Json> = serde_wasm_bindgen::from_value(object)
            .map_err(|e| thrown(err!(InvalidRecord, "a record is an object of columns: {e}")))?;
        Ok(Input::Record(record).into())
    }

    /// The model's own values; the steps before the model are left out.
    pub fn tensors(list: TensorList) -> WebInput {
        Input::Values(list.into_values()).into()
    }
}

impl From<Input> for WebInput {
    fn from(input: Input) -> Self {
        Self { input }
    }
}

/// The parameters of a call: an object, or nothing.
pub(super) fn parameters(given: JsValue) -> Result<Parameters> {
    if given.is_undefined() || given.is_null() {
        return Ok(Parameters::new());
    }
    serde_wasm_bindgen::from_value(given).map_err(|e| {
        err!(
            InvalidParameter,
            "parameters are an object of names and values: {e}"
        )
    })
}
