//! One operation of the document.

use serde_json::{Map, Value, json};

/// What a method does at a path (OpenAPI 3.1.0, "Operation Object").
pub(crate) struct Operation(Map<String, Value>);

impl Operation {
    /// `id` must be unique in the document, `tag` one that the protocol added. Every operation has the
    /// answers that any request may get: an error as its default.
    pub(crate) fn new(id: &str, tag: &str, summary: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("operationId".into(), id.into());
        fields.insert("tags".into(), json!([tag]));
        fields.insert("summary".into(), summary.into());
        fields.insert(
            "responses".into(),
            json!({"default": {"$ref": "#/components/responses/Error"}}),
        );
        Self(fields)
    }

    /// More than the summary says.
    pub(crate) fn description(mut self, text: &str) -> Self {
        self.0.insert("description".into(), text.into());
        self
    }

    /// A "Parameter Object": of the path, the query or a header.
    pub(crate) fn parameter(mut self, parameter: Value) -> Self {
        let list = self.0.entry("parameters").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(parameter);
        }
        self
    }

    /// The body: schemas by media type.
    pub(crate) fn body(mut self, required: bool, by_media_type: &[(&str, Value)]) -> Self {
        let body = json!({"required": required, "content": content(by_media_type)});
        self.0.insert("requestBody".into(), body);
        self
    }

    /// A successful answer: schemas by media type.
    pub(crate) fn answer(
        mut self,
        status: u16,
        description: &str,
        by_media_type: &[(&str, Value)],
    ) -> Self {
        let mut answer = json!({"description": description});
        if !by_media_type.is_empty() {
            answer["content"] = content(by_media_type);
        }
        self.0["responses"][status.to_string()] = answer;
        self
    }

    /// A successful answer in JSON.
    pub(crate) fn json(self, description: &str, schema: Value) -> Self {
        self.answer(200, description, &[("application/json", schema)])
    }

    /// Errors in the form of a protocol ([`super::Document::error_form`]), with the statuses that are to be
    /// expected.
    pub(crate) fn errors_in(mut self, form: &str, statuses: &[u16]) -> Self {
        let reference = |name: String| json!({"$ref": format!("#/components/responses/{name}")});
        self.0["responses"]["default"] = reference(form.to_owned());
        for status in statuses {
            self.0["responses"][status.to_string()] = reference(format!("{form}{status}"));
        }
        self
    }

    /// The statuses of errors that are to be expected, beside those that any request may get.
    pub(crate) fn errors(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let reference = json!({"$ref": format!("#/components/responses/Error{status}")});
            self.0["responses"][status.to_string()] = reference;
        }
        self
    }
}

impl From<Operation> for Value {
    fn from(operation: Operation) -> Self {
        Self::Object(operation.0)
    }
}

fn content(by_media_type: &[(&str, Value)]) -> Value {
    let one = |(media_type, schema): &(&str, Value)| {
        ((*media_type).to_owned(), json!({"schema": schema}))
    };
    Value::Object(by_media_type.iter().map(one).collect())
}
