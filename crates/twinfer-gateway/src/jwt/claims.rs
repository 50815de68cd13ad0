//! What a token says, once its signature is right (RFC 7519, section 4.1).

use serde_json::Value;

use super::Token;
use crate::pattern::Patterns;
use crate::scope::{Scope, Scopes};
use crate::settings::JwtSettings;

/// Longest subject that is kept.
const MAX_SUBJECT: usize = 128;

/// Reads the claims. `now` is in milliseconds since 1970.
///
/// # Errors
/// For the log, what is wrong with them.
pub(super) fn read(json: &[u8], settings: &JwtSettings, now: u64) -> Result<Token, &'static str> {
    let claims: Value = serde_json::from_slice(json).map_err(|_| "the claims are malformed")?;
    if !claims.is_object() {
        return Err("the claims are no object");
    }
    let now = now as f64 / 1000.0;
    let leeway = settings.leeway as f64;
    let expires = claims["exp"].as_f64().ok_or("the token has no `exp`")?;
    if now >= expires + leeway {
        return Err("the token has expired");
    }
    match &claims["nbf"] {
        Value::Null => {}
        from => {
            let from = from.as_f64().ok_or("`nbf` is no number")?;
            if now < from - leeway {
                return Err("the token is not valid yet");
            }
        }
    }
    let issuer = claims["iss"].as_str().ok_or("the token has no `iss`")?;
    if !settings.issuer.iter().any(|accepted| accepted == issuer) {
        return Err("the issuer of the token is not accepted");
    }
    let audience = texts(&claims["aud"]);
    let meant = |accepted: &String| audience.contains(&accepted.as_str());
    if !settings.audience.iter().any(meant) {
        return Err("the token is for another audience");
    }
    let subject = claims["sub"].as_str().unwrap_or("unnamed");
    Ok(Token {
        subject: subject.chars().take(MAX_SUBJECT).collect(),
        scopes: scopes(claim(&claims, &settings.scopes_claim)),
        models: match &settings.models_claim {
            None => Patterns::all(),
            Some(name) => Patterns::new(words(claim(&claims, name))),
        },
    })
}

fn claim<'a>(claims: &'a Value, name: &str) -> &'a Value {
    let found = if name.starts_with('/') {
        claims.pointer(name)
    } else {
        claims.get(name)
    };
    found.unwrap_or(&Value::Null)
}

/// Scopes that are not ours are of other services.
fn scopes(value: &Value) -> Scopes {
    let ours: Vec<Scope> = words(value)
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    Scopes::of(&ours)
}

/// Text with spaces between, or a list of texts.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        other => texts(other).into_iter().map(str::to_owned).collect(),
    }
}

/// One text, or a list of them; what is neither is none.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
