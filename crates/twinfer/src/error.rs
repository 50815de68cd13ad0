//! The one error type of Twinfer, with codes that are the same in Rust, HTTP and TypeScript.

use std::borrow::Cow;
use std::fmt::{self, Display};

/// Result of everything in Twinfer that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do about it.
///
/// [`Error::code`] is stable and meant for programs, the message for people.
#[derive(Debug, Clone)]
pub struct Error {
    // Boxed, so that a `Result` stays small on the path where nothing fails.
    inner: Box<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    code: ErrorCode,
    message: Cow<'static, str>,
}

impl Error {
    /// An error of this kind. The message says what was expected, what came, and what to do.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(Inner {
                code,
                message: message.into(),
            }),
        }
    }

    /// The stable kind of this error.
    pub fn code(&self) -> ErrorCode {
        self.inner.code
    }

    /// The text for people; the same as [`Display`].
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The same error, saying where it happened: `place: message`.
    #[must_use]
    pub fn context(mut self, place: impl Display) -> Self {
        self.inner.message = format!("{place}: {}", self.inner.message).into();
        self
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {}

macro_rules! error_codes {
    ($($variant:ident $text:literal $status:literal $summary:literal;)*) => {
        /// The stable kinds of errors. Their text ([`ErrorCode::as_str`]) is what HTTP
        /// answers (`code`) and TypeScript (`TwinferError.code`) carry.
        #[non_exhaustive]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $summary] $variant,)*
        }

        impl ErrorCode {
            /// Every code there is, in the order of the documentation.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The code as programs see it, in snake case.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* }
            }

            /// The HTTP status that goes with it.
            pub fn http_status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)* }
            }

            /// One line that says when it is given.
            pub fn summary(self) -> &'static str {
                match self { $(ErrorCode::$variant => $summary,)* }
            }
        }
    };
}

error_codes! {
    InvalidModel "invalid_model" 422 "The model file cannot be read, or its graph is malformed.";
    UnsupportedOperator "unsupported_operator" 422 "The model uses an operator that the engine does not have.";
    UnsupportedDtype "unsupported_dtype" 422 "The engine cannot compute with this data type.";
    ModelTooLarge "model_too_large" 413 "The model is over the limit of what is loaded.";
    InvalidInput "invalid_input" 400 "An input of the wrong kind for this model.";
    MissingInput "missing_input" 400 "An input that the signature requires was not given.";
    UnknownInput "unknown_input" 400 "An input that the signature does not have.";
    WrongDtype "wrong_dtype" 400 "An input with another data type than the signature says.";
    WrongShape "wrong_shape" 400 "An input with another rank or axis than the signature says, or data of another length than its shape.";
    InvalidRecord "invalid_record" 400 "A record with a missing, unknown or non-numeric column.";
    InvalidPicture "invalid_picture" 400 "Bytes that are not a picture that can be decoded (PNG, JPEG, WebP), or one with no pixels.";
    PictureTooLarge "picture_too_large" 413 "A picture with more pixels than the limit.";
    InvalidAudio "invalid_audio" 400 "Bytes that are not a sound that can be decoded (WAV), one with no samples, or with some that are no numbers.";
    AudioTooLarge "audio_too_large" 413 "A sound with more samples than the limit.";
    InvalidText "invalid_text" 400 "A text that is not UTF-8, or none at all.";
    UnknownOutput "unknown_output" 400 "An output was asked for that the model does not have.";
    UnknownParameter "unknown_parameter" 400 "A parameter that the model's pipeline does not declare.";
    InvalidParameter "invalid_parameter" 400 "A parameter with a value that is not allowed.";
    InvalidJson "invalid_json" 400 "Text that is not JSON, or nested too deeply.";
    InvalidRequest "invalid_request" 400 "A request whose form is not the one of the protocol.";
    BodyTooLarge "body_too_large" 413 "A request or response body over the limit.";
    UnsupportedMediaType "unsupported_media_type" 415 "A content type that this model or route does not take.";
    MethodNotAllowed "method_not_allowed" 405 "The route exists, but not with this method.";
    NotFound "not_found" 404 "There is no such route or file.";
    UnknownModel "unknown_model" 404 "There is no model of this name in the registry.";
    UnknownVersion "unknown_version" 404 "There is no such version, tag or digest of this model.";
    InvalidReference "invalid_reference" 400 "Text that is not name, name:tag or name@sha256:….";
    InvalidDigest "invalid_digest" 400 "Text that is not sha256: and 64 hexadecimal digits.";
    DigestMismatch "digest_mismatch" 422 "Content whose digest is not the one that it was asked for by.";
    SizeMismatch "size_mismatch" 422 "Content that is longer or shorter than its descriptor says.";
    MissingBlob "missing_blob" 422 "A layer or manifest that the registry names but does not hold.";
    InvalidManifest "invalid_manifest" 422 "An index, manifest or configuration that is malformed.";
    UnknownField "unknown_field" 422 "A field that this version of the format does not have.";
    UnsupportedFormatVersion "unsupported_format_version" 422 "A package in a newer format than this version reads.";
    InvalidPackage "invalid_package" 422 "A package that lacks a part, or whose parts contradict each other.";
    InvalidRecipe "invalid_recipe" 422 "A recipe that cannot be packed.";
    VersionExists "version_exists" 409 "A version that is already there with other content; versions are immutable.";
    IncompatibleSignature "incompatible_signature" 409 "A version whose inputs or outputs break those who use the version before it.";
    ConversionFailed "conversion_failed" 422 "A model of another format could not be converted to ONNX.";
    InvalidPolicy "invalid_policy" 422 "A trust policy that is malformed.";
    UnsignedPackage "unsigned_package" 403 "A package without a package signature, where the trust policy demands one.";
    InvalidSignature "invalid_signature" 403 "A package signature that is malformed, does not verify, or is not over this package.";
    UntrustedKey "untrusted_key" 403 "A package that is signed, but by no key that the trust policy accepts for its name.";
    RevokedPackage "revoked_package" 403 "A package that the trust policy revokes.";
    VersionTooOld "version_too_old" 403 "A version below the lowest that the trust policy accepts for this name.";
    UnsignedIndex "unsigned_index" 403 "A model without a signed list of its tags, where the trust policy demands one.";
    IndexExpired "index_expired" 403 "A signed list of tags that is too old: somebody may hold back newer ones.";
    IndexReplayed "index_replayed" 403 "A signed list of tags that is older than one seen before.";
    Unauthorized "unauthorized" 401 "The registry or server wants credentials, or other ones than these.";
    Forbidden "forbidden" 403 "The server knows these credentials, and they may not do this.";
    RateLimited "rate_limited" 429 "Too many requests of this client; try again when `Retry-After` says.";
    SelfTestFailed "self_test_failed" 422 "The golden examples of the package do not come out as they should.";
    Storage "storage" 500 "The registry or cache could not be read or written.";
    OutOfSpace "out_of_space" 507 "There is no room left to store this.";
    Network "network" 502 "Something could not be fetched.";
    Aborted "aborted" 499 "The caller cancelled it.";
    Closed "closed" 409 "The model was closed before.";
    Timeout "timeout" 504 "It took longer than the limit.";
    Overloaded "overloaded" 503 "Too many requests at once; try again later.";
    UnsupportedDevice "unsupported_device" 501 "The device cannot run the engine: it has no WebAssembly, or none with SIMD.";
    OutOfMemory "out_of_memory" 507 "The memory limit was reached.";
    CheckpointMismatch "checkpoint_mismatch" 409 "A batch job that was begun with another input, model or options.";
    EngineFunctionMissing "engine_function_missing" 500 "A slim or fused engine lacks what this call needs, and there is no full engine to fall back to.";
    InvalidDeployment "invalid_deployment" 422 "A deployment that is malformed, or cannot be followed.";
    UnknownDeployment "unknown_deployment" 404 "There is no deployment of this model.";
    DeploymentConflict "deployment_conflict" 409 "What is asked of a deployment is not possible as it is now.";
    RevisionMismatch "revision_mismatch" 412 "A deployment was changed by somebody else meanwhile.";
    Internal "internal" 500 "A defect in Twinfer; please report it.";
}

impl Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Shorthand of this workspace: `bail!(WrongShape, "…")` returns the error.
#[macro_export]
#[doc(hidden)]
macro_rules! bail {
    ($code:ident, $($message:tt)*) => {
        return Err($crate::Error::new($crate::ErrorCode::$code, format!($($message)*)))
    };
}

/// Shorthand of this workspace: `err!(WrongShape, "…")` makes the error.
#[macro_export]
#[doc(hidden)]
macro_rules! err {
    ($code:ident, $($message:tt)*) => {
        $crate::Error::new($crate::ErrorCode::$code, format!($($message)*))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_snake_case_and_have_an_http_error_status() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
    }

    #[test]
    fn context_names_the_place_and_keeps_the_code() {
        let error = Error::new(ErrorCode::WrongShape, "bad").context("input `x`");
        assert_eq!(error.to_string(), "input `x`: bad");
        assert_eq!(error.code(), ErrorCode::WrongShape);
    }
}
