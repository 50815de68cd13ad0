//! What the body of a request is, by its content type.

use bytes::Bytes;
use http::HeaderMap;
use twinfer::{Audio, Input, InputStep, Model, Picture, Result, bail};

use super::{Form, form_of};
use crate::formats::table::article;
use crate::media::{self, MediaType};

/// What a body says that it is.
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    pub(crate) media_type: Option<MediaType>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A form that answers can have too, and its media type.
    Of(&'static str, Form),
    Picture,
    Audio,
    Text,
    Bytes,
    Multipart,
}

impl Sent {
    /// # Errors
    /// `unsupported_media_type`.
    pub(crate) fn of(model: &Model, headers: &HeaderMap) -> Result<Self> {
        Self::with(model, media::content_type(headers)?)
    }

    /// Without a media type it is what this model takes: some clients send none.
    ///
    /// # Errors
    /// `unsupported_media_type`.
    pub(crate) fn with(model: &Model, media_type: Option<MediaType>) -> Result<Self> {
        let kind = match &media_type {
            None => match model.config().pipeline.as_ref().map(|p| &p.input) {
                Some(InputStep::Picture(_) | InputStep::Bytes(_) | InputStep::Audio(_)) => {
                    Kind::Bytes
                }
                Some(InputStep::Text(_)) => Kind::Text,
                _ => Kind::Of("application/json", Form::Json),
            },
            Some(given) => match (given.essence.as_str(), form_of(&given.essence)) {
                (_, Some((name, form))) => Kind::Of(name, form),
                ("multipart/form-data", _) => Kind::Multipart,
                ("application/octet-stream", _) => Kind::Bytes,
                ("text/plain", _) => {
                    check_charset(given)?;
                    Kind::Text
                }
                (essence, _) if essence.starts_with("image/") => Kind::Picture,
                (essence, _) if essence.starts_with("audio/") => Kind::Audio,
                (essence, _) if essence.ends_with("+json") => {
                    Kind::Of("application/json", Form::Json)
                }
                (essence, _) => bail!(
                    UnsupportedMediaType,
                    "content type {essence:?} is not taken: send image/* for a picture, audio/* for a sound, text/plain for a text, application/octet-stream for bytes, application/json for the rest"
                ),
            },
        };
        Ok(Self { kind, media_type })
    }
}

/// ASCII is UTF-8; everything else would be other characters.
fn check_charset(given: &MediaType) -> Result<()> {
    let charset = given.parameter("charset").unwrap_or("utf-8");
    if !["utf-8", "utf8", "us-ascii"].contains(&charset.to_ascii_lowercase().as_str()) {
        bail!(
            UnsupportedMediaType,
            "texts in {charset:?} are not taken: send UTF-8"
        );
    }
    Ok(())
}

/// A body that is the content itself.
///
/// # Errors
/// `unsupported_media_type` where the model takes something else; `invalid_text` for a text that is
/// not UTF-8.
pub(super) fn content(model: &Model, kind: Kind, body: Bytes) -> Result<Input> {
    match (kind, model.config().pipeline.as_ref().map(|p| &p.input)) {
        (Kind::Picture | Kind::Bytes, Some(InputStep::Picture(_))) => {
            Ok(Input::Picture(Picture::Encoded(body.into())))
        }
        (Kind::Bytes, Some(InputStep::Bytes(_))) => Ok(Input::Bytes(body.into())),
        (Kind::Audio | Kind::Bytes, Some(InputStep::Audio(_))) => {
            Ok(Input::Audio(Audio::Encoded(body.into())))
        }
        (Kind::Text | Kind::Bytes, Some(InputStep::Text(_))) => Input::text_from_utf8(body.into()),
        (Kind::Picture | Kind::Audio | Kind::Text, Some(step)) => bail!(
            UnsupportedMediaType,
            "this model takes {}, not {}",
            article(step),
            match kind {
                Kind::Picture => "a picture",
                Kind::Audio => "a sound",
                _ => "a text",
            }
        ),
        (_, Some(step)) => bail!(
            UnsupportedMediaType,
            "this model takes {} as application/json",
            article(step)
        ),
        (_, None) => bail!(
            UnsupportedMediaType,
            "this model has no pipeline: send tensors to /infer"
        ),
    }
}
