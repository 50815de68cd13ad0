//! Online endpoints of Azure Machine Learning: `/score`, and the forms in which its clients send rows.
//!
//! | body | answer |
//! |---|---|
//! | `{"input_data": …}`, as for MLflow models: `{"columns", "index", "data"}`, a list, an object of inputs; perhaps `params` | a list of predictions, as MLflow has them |
//! | `{"data": […]}` | a list of answers, one for each row |
//! | `{"Inputs": {"data": […]}, "GlobalParameters": …}` | `{"Results": […]}` |
//! | a list of rows | a list of answers |
//! | what `predict` takes | the outputs |
//!
//! Sources: `azureml-inference-server-http` (its routes, and the request ids that it passes back), and
//! the scoring scripts that Azure makes for MLflow models and automated training.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Response};
use serde_json::{Map, Value as Json, json};
use twinfer::{Parameters, Result, bail, err};

use super::{Need, Request, mlflow};
use crate::openapi::{self, Document, Operation, list, object, predict_body, row, row_answer};
use crate::run::Running;
use crate::target::Target;
use crate::{App, loose, media, predict, query, reply, rows};

/// The ids of a request, which go back with its answer.
const IDS: [HeaderName; 2] = [
    HeaderName::from_static("x-ms-request-id"),
    HeaderName::from_static("x-ms-client-request-id"),
];

#[derive(Debug, PartialEq)]
enum Route {
    Score(Target),
    Swagger,
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    Some(Box::new(match *segments {
        ["score"] => Route::Score(Target::default_model()),
        ["swagger.json"] => Route::Swagger,
        _ => return None,
    }))
}

pub(super) fn describe(document: &mut Document<'_>) {
    const TAG: &str = "Azure Machine Learning";
    document.tag(TAG, "What an online endpoint calls.");
    let served = document.default_model();
    let rows = list(row(served));
    let any = || json!({"type": "object"});
    let mut json_forms = vec![
        object(
            &[
                ("input_data", json!({"type": ["object", "array"]})),
                ("params", any()),
            ],
            &["input_data"],
        ),
        object(&[("data", rows.clone()), ("parameters", any())], &["data"]),
        object(
            &[
                ("Inputs", object(&[("data", rows.clone())], &["data"])),
                (
                    "GlobalParameters",
                    json!({"type": ["object", "number", "null"]}),
                ),
            ],
            &["Inputs"],
        ),
        rows,
    ];
    let mut bodies = Vec::new();
    for (name, schema) in served.map(predict_body).unwrap_or_default() {
        match name {
            "application/json" => json_forms.push(schema),
            name => bodies.push((name, schema)),
        }
    }
    bodies.insert(0, ("application/json", json!({"anyOf": json_forms})));
    let answers = json!({"type": "array", "items": row_answer(served)});
    let results = object(&[("Results", answers)], &["Results"]);
    let answer = json!({"anyOf": [{"type": "array"}, results, {"type": "object"}]});
    let id = |name: &HeaderName| {
        json!({
            "name": name.as_str(), "in": "header", "required": false,
            "description": "Goes back with the answer.", "schema": {"type": "string"},
        })
    };
    let score = Operation::new("score", TAG, "Predictions of the default model")
        .body(true, &bodies)
        .json("The predictions.", answer)
        .errors(&[400, 403, 404, 413, 415, 422]);
    let score = IDS
        .iter()
        .fold(score, |score, name| score.parameter(id(name)));
    document.add("post", "/score", score);
    document.add(
        "get",
        "/swagger.json",
        Operation::new("swagger", TAG, "OpenAPI of this protocol").json(
            "OpenAPI.",
            json!({"type": "object", "required": ["openapi", "paths"]}),
        ),
    );
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        match self {
            Self::Score(_) => "POST",
            Self::Swagger => "GET, HEAD",
        }
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Score(target) => Need::Model(target),
            Self::Swagger => Need::Nothing,
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        let Self::Score(target) = self else {
            return Ok(reply::json(&openapi::of_protocols(&[describe])));
        };
        let (loaded, _) = app.call(target, &request)?;
        let headers = &request.parts.headers;
        let mut answer = if is_json(headers)? {
            reply::json(&score(&loaded.model, &request.body)?)
        } else {
            let sent = predict::Sent::of(&loaded.model, headers)?;
            let beside = query::parameters(request.parts.uri.query())?;
            let answers = predict::run(&loaded.model, &sent, request.body.clone(), beside)?;
            reply::json(&predict::plain(answers))
        };
        for id in IDS {
            if let Some(value) = headers.get(&id) {
                answer.headers_mut().insert(id, value.clone());
            }
        }
        Ok(answer)
    }
}

fn is_json(headers: &HeaderMap) -> Result<bool> {
    let media_type = media::content_type(headers)?;
    let none = !headers.contains_key(CONTENT_TYPE);
    Ok(none || media_type.is_some_and(|given| given.essence == "application/json"))
}

fn score(model: &Running<'_>, body: &[u8]) -> Result<Json> {
    let json: Json = serde_json::from_slice(&loose::quote_words(body))
        .map_err(|e| err!(InvalidJson, "the request is not JSON: {e}"))?;
    let mut fields = match json {
        Json::Array(rows) => return answers(model, rows, &Parameters::new()),
        Json::Object(fields) => fields,
        _ => bail!(InvalidRequest, "the request must be an object or a list"),
    };
    // A column of the model may have one of these names.
    let is_own = |name: &str| {
        let columns = crate::formats::table::Columns::of(model);
        columns.is_ok_and(|columns| columns.has(name))
    };
    if let Some(data) = fields
        .remove("input_data")
        .filter(|_| !is_own("input_data"))
    {
        return input_data(model, data, fields);
    }
    if fields.get("data").is_some_and(Json::is_array) && !is_own("data") {
        let Some(Json::Array(rows)) = fields.remove("data") else {
            bail!(InvalidRequest, "`data` must be a list of rows");
        };
        return answers(model, rows, &parameters(fields.remove("parameters"))?);
    }
    if let Some(Json::Object(mut inputs)) = fields.remove("Inputs") {
        let rows = match (inputs.remove("data"), inputs.is_empty()) {
            (Some(Json::Array(rows)), true) => rows,
            _ => bail!(
                InvalidRequest,
                "`Inputs` must be an object with `data`, a list of rows"
            ),
        };
        let results = answers(model, rows, &parameters(fields.remove("GlobalParameters"))?)?;
        return Ok(json!({"Results": results}));
    }
    // As `predict` takes it.
    let sent = predict::Sent::with(model, media::MediaType::parse("application/json"))?;
    let body = Bytes::copy_from_slice(body);
    Ok(predict::plain(predict::run(
        model,
        &sent,
        body,
        Parameters::new(),
    )?))
}

fn answers(model: &Running<'_>, rows: Vec<Json>, parameters: &Parameters) -> Result<Json> {
    rows::predict(model, rows, parameters).map(Json::Array)
}

/// Azure sends `1.0` there when nobody set any.
fn parameters(given: Option<Json>) -> Result<Parameters> {
    match given {
        None | Some(Json::Null | Json::Number(_)) => Ok(Parameters::new()),
        Some(Json::Object(given)) => Ok(given),
        Some(_) => bail!(InvalidParameter, "the parameters must be an object"),
    }
}

/// The form of MLflow models without a scoring script, by what MLflow itself calls it.
fn input_data(model: &Running<'_>, data: Json, mut fields: Map<String, Json>) -> Result<Json> {
    let name = match &data {
        Json::Object(table) if table.contains_key("data") => "dataframe_split",
        Json::Array(rows) if rows.first().is_some_and(Json::is_object) => "dataframe_records",
        Json::Array(_) => "instances",
        Json::Object(_) => "inputs",
        _ => bail!(
            InvalidRequest,
            "`input_data` must be a table, a list of rows, or an object of inputs"
        ),
    };
    let mut request = Map::from_iter([(name.to_owned(), data)]);
    if let Some(params) = fields.remove("params") {
        request.insert("params".into(), params);
    }
    let request = Json::Object(request).to_string();
    let payload = mlflow::read(model, request.as_bytes())?;
    mlflow::predicted(model, payload)
}
