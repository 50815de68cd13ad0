//! OpenAPI 3.1 of what is served: the routes of every protocol, with the schemas of the models that
//! are there now.
//!
//! A protocol says what it has in a function `describe` ([`crate::protocol::DESCRIPTIONS`]), which adds
//! [`Operation`]s to the [`Document`].

mod common;
mod model;
mod operation;
mod pipeline;
mod rows;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use twinfer::{ModelConfig, Result, Signature};
use twinfer_package::{Index, Reference};

use crate::App;
use crate::app::Options;
use crate::protocol::Describe;
use crate::target::Target;

pub(crate) use common::{object, path_parameter, reference_to, text};
pub(crate) use model::{infer_request, infer_response};
pub(crate) use operation::Operation;
pub(crate) use pipeline::{answer_schema, closed, envelope, outputs, parameters, predict_body};
pub(crate) use rows::{columns, features, frame_row, list, row, row_answer};

/// More models than this have their operations only under `?model=NAME`: a document of megabytes helps
/// nobody.
const MOST_MODELS: usize = 100;

/// The statuses of errors that protocols give in their own form.
const OF_PROTOCOLS: [u16; 4] = [400, 404, 415, 422];

/// What a segment of a path may have as it is (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A model that has operations of its own in the document.
pub(crate) struct Served {
    /// Its name, as a segment of a path.
    pub(crate) segment: String,
    /// Its name, as a part of names of schemas and operations.
    pub(crate) key: String,
    pub(crate) config: ModelConfig,
    pub(crate) signature: Signature,
}

/// The document while protocols add to it.
pub(crate) struct Document<'a> {
    models: &'a [Served],
    default: Option<Served>,
    options: Option<&'a Options>,
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
    responses: Map<String, Value>,
    tags: Vec<Value>,
}

impl<'a> Document<'a> {
    /// The models that get operations of their own.
    pub(crate) fn models(&self) -> &'a [Served] {
        self.models
    }

    /// The model of protocols whose requests name none, where one is chosen and can be read.
    pub(crate) fn default_model(&self) -> Option<&Served> {
        self.default.as_ref()
    }

    /// What the shell chose; `None` in the description of one protocol alone.
    pub(crate) fn options(&self) -> Option<&'a Options> {
        self.options
    }

    /// A form of errors, for [`Operation::errors_in`]. What is wrong before the protocol is asked has our own
    /// form, whatever its status is.
    pub(crate) fn error_form(&mut self, name: &str, schema: Value) {
        let own = self.schema(name, schema);
        let either = json!({"anyOf": [own, reference_to("Error")]});
        let response = |description: String| json!({"description": description, "content": {"application/json": {"schema": either}}});
        self.responses
            .insert(name.to_owned(), response("An error.".into()));
        for status in OF_PROTOCOLS {
            let description = format!("An error, with a code of `Error{status}`.");
            self.responses
                .insert(format!("{name}{status}"), response(description));
        }
    }

    /// A heading for operations: each protocol has one.
    pub(crate) fn tag(&mut self, name: &str, description: &str) {
        self.tags
            .push(json!({"name": name, "description": description}));
    }

    /// Adds an operation. The path may have variables, as in `/v2/models/{model}`.
    pub(crate) fn add(&mut self, method: &str, path: &str, operation: Operation) {
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation.into();
    }

    /// Adds a schema, and gives a reference to it.
    pub(crate) fn schema(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.insert(name.to_owned(), schema);
        reference_to(name)
    }

    fn new(models: &'a [Served]) -> Self {
        Self {
            models,
            default: None,
            options: None,
            paths: Map::new(),
            schemas: Map::new(),
            responses: common::responses(),
            tags: Vec::new(),
        }
    }

    fn finish(mut self, all: usize) -> Value {
        common::add_schemas(&mut self.schemas);
        let left_out = all - self.models.len();
        let more = match left_out {
            0 => String::new(),
            n => format!(
                " {n} models are left out of this document: ask for `/openapi.json?model=NAME`."
            ),
        };
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Twinfer",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": "Predictions of the models of a registry",
                "description": format!(
                    "What this server answers at this moment. Every error has a message and a stable code.{more}"
                ),
                "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            // Whoever runs the server decides whether it wants credentials; without them all is open.
            "security": [{}, {"token": []}, {"key": []}],
            "tags": self.tags,
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "responses": self.responses,
                "securitySchemes": common::security_schemes(),
            },
        })
    }
}

/// `GET /openapi.json`: of all models, or of one.
///
/// # Errors
/// Those of reading the index; `unknown_model` for a model that is asked for and not there.
pub(crate) fn document(app: &App, only: Option<&str>) -> Result<Value> {
    let index = app.index()?;
    let mut names: Vec<String> = index.tags().into_iter().map(|tag| tag.name).collect();
    names.sort();
    names.dedup();
    if let Some(only) = only {
        index.resolve(&only.parse()?)?;
        names.retain(|name| name == only);
    }
    let served: Vec<Served> = (names.iter().take(MOST_MODELS))
        // A package that cannot be read, or may not, has no schema; its requests say why.
        .filter_map(|name| served(app, &index, &name.parse().ok()?))
        .collect();
    let mut document = Document::new(&served);
    document.options = Some(app.options());
    let default = app.reference(&Target::default_model(), &index).ok();
    document.default = default.and_then(|reference| self::served(app, &index, &reference));
    for describe in crate::protocol::DESCRIPTIONS {
        describe(&mut document);
    }
    Ok(document.finish(names.len()))
}

/// The document of some protocols alone, for clients that ask a server for it before they send anything.
pub(crate) fn of_protocols(describe: &[Describe]) -> Value {
    let mut document = Document::new(&[]);
    for describe in describe {
        describe(&mut document);
    }
    document.finish(0)
}

/// What a package says of itself; its model is not loaded for that.
fn served(app: &App, index: &std::sync::Arc<Index>, reference: &Reference) -> Option<Served> {
    let entry = app.admit(index, reference).ok()?;
    let config = app.models.config(reference, &entry.descriptor).ok()?;
    let name = reference.name();
    Some(Served {
        segment: utf8_percent_encode(name, SEGMENT).to_string(),
        key: key(name),
        signature: config.signature.clone()?,
        config,
    })
}

/// Names of components have letters, digits, `.`, `_` and `-` only (OpenAPI 3.1.0, "Components Object");
/// those of models have `/` as well, and no two of `-`, `.` and `_` in a row.
fn key(name: &str) -> String {
    name.replace('/', "--")
}
