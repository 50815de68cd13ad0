//! What paths ask for.

use http::Method;
use twinfer_gateway::{ModelWanted, Scope, Surface, Wanted};

use Scope::{Admin, Health, Metrics, Packages, Page, Predict};

/// `-` none, `*` all, `?` the one that is not named.
fn model(wanted: &Wanted) -> &str {
    match &wanted.model {
        ModelWanted::None => "-",
        ModelWanted::All => "*",
        ModelWanted::Unnamed => "?",
        ModelWanted::Named(name) => name,
    }
}

fn surface() -> Surface {
    Surface {
        page_files: true,
        health_paths: vec!["/aip/health".into()],
        predict_paths: vec!["/aip/predict".into()],
        ..Surface::default()
    }
}

#[test]
fn every_protocol_has_its_scopes() {
    for (method, path, scope, named) in [
        // Open Inference Protocol, with Triton's extensions.
        ("GET", "/v2", Predict, "-"),
        ("GET", "/v2/", Predict, "-"),
        ("GET", "/v2/health/live", Health, "-"),
        ("GET", "/v2/health/ready", Health, "-"),
        ("GET", "/v2/models", Predict, "*"),
        ("GET", "/v2/models/stats", Predict, "*"),
        ("GET", "/v2/models/m", Predict, "m"),
        ("GET", "/v2/models/m/ready", Predict, "m"),
        ("GET", "/v2/models/m/config", Predict, "m"),
        ("GET", "/v2/models/m/versions/1/stats", Predict, "m"),
        ("POST", "/v2/models/m/infer", Predict, "m"),
        ("POST", "/v2/models/m/predict", Predict, "m"),
        ("POST", "/v2/models/m/versions/stable/infer", Predict, "m"),
        (
            "POST",
            "/v2/models/m/versions/sha256:00/predict/",
            Predict,
            "m",
        ),
        ("POST", "/v2/repository/index", Admin, "*"),
        ("POST", "/v2/repository/models/m/load", Admin, "m"),
        ("POST", "/v2/repository/models/m/unload", Admin, "m"),
        ("PUT", "/v2/deployments/m", Admin, "-"),
        ("PUT", "/admin/deployments/m", Admin, "m"),
        ("POST", "/admin/deployments/m/rollback", Admin, "m"),
        ("GET", "/admin/deployments", Admin, "*"),
        ("GET", "/registry/deployments/m.json", Packages, "*"),
        ("POST", "/v2/logging", Admin, "-"),
        // TensorFlow Serving.
        ("GET", "/v1/models/m", Predict, "m"),
        ("GET", "/v1/models/m/metadata", Predict, "m"),
        ("POST", "/v1/models/m:predict", Predict, "m"),
        ("POST", "/v1/models/m%3Apredict", Predict, "m"),
        ("POST", "/v1/models/m/versions/3:classify", Predict, "m"),
        ("POST", "/v1/models/m/labels/stable:regress", Predict, "m"),
        ("GET", "/v1/models/m/versions/3/metadata", Predict, "m"),
        ("GET", "/monitoring/prometheus/metrics", Metrics, "-"),
        // MLflow, SageMaker, Azure ML, Vertex AI.
        ("POST", "/invocations", Predict, "?"),
        ("GET", "/ping", Health, "-"),
        ("GET", "/health", Health, "-"),
        ("GET", "/version", Health, "-"),
        ("POST", "/score", Predict, "?"),
        ("POST", "/models/m/invoke", Predict, "m"),
        ("GET", "/execution-parameters", Predict, "-"),
        ("GET", "/swagger.json", Page, "-"),
        ("GET", "/v1/endpoints/e/deployedModels/d", Health, "-"),
        (
            "POST",
            "/v1/endpoints/e/deployedModels/d:predict",
            Predict,
            "?",
        ),
        ("GET", "/aip/health", Health, "-"),
        ("POST", "/aip/predict", Predict, "?"),
        // TorchServe.
        ("POST", "/predictions/m", Predict, "m"),
        ("POST", "/predictions/m/1.0", Predict, "m"),
        ("POST", "/explanations/m", Predict, "m"),
        ("GET", "/models", Predict, "*"),
        ("GET", "/models/m", Predict, "m"),
        ("GET", "/models/m/all", Predict, "m"),
        ("POST", "/models", Admin, "-"),
        ("PUT", "/models/m", Admin, "-"),
        ("DELETE", "/models/m/1.0", Admin, "-"),
        ("PUT", "/models/m/1.0/set-default", Admin, "-"),
        // CloudEvents.
        ("POST", "/events", Predict, "?"),
        ("POST", "/events/m", Predict, "m"),
        // Ours.
        ("GET", "/", Page, "-"),
        ("HEAD", "/", Page, "-"),
        ("GET", "/openapi.json", Page, "*"),
        ("GET", "/api-description", Page, "-"),
        ("GET", "/console", Page, "-"),
        ("GET", "/console/models/m", Predict, "m"),
        ("GET", "/console/settings", Page, "-"),
        ("GET", "/demo/index.html", Page, "-"),
        ("GET", "/metrics", Metrics, "-"),
        ("GET", "/healthz", Health, "-"),
        ("GET", "/livez", Health, "-"),
        ("GET", "/readyz", Health, "-"),
        ("GET", "/registry/index.json", Packages, "*"),
        ("GET", "/registry/blobs/sha256/00", Packages, "*"),
        ("GET", "/deployments", Admin, "*"),
    ] {
        let wanted = Wanted::of(&method.parse().unwrap(), path, &surface());
        let found = (wanted.scope, model(&wanted), wanted.known);
        assert_eq!(found, (scope, named, true), "{method} {path}");
    }
}

#[test]
fn no_spelling_changes_what_a_path_asks_for() {
    for (path, scope) in [
        ("/v2/%72epository/models/m/load", Admin),
        ("/%76%32/repository/index", Admin),
        ("/%72egistry/index.json", Packages),
        ("/v2/models/%6d/infer", Predict),
    ] {
        let wanted = Wanted::of(&Method::POST, path, &surface());
        assert_eq!((wanted.scope, wanted.known), (scope, true), "{path}");
    }
}

#[test]
fn what_is_unknown_takes_admin() {
    for (method, path) in [
        ("POST", "/"),
        ("POST", "/demo/index.html"),
        ("POST", "/console/settings"),
        ("POST", "/v1/endpoints/e/deployedModels/d:delete"),
        ("DELETE", "/index.html"),
        ("GET", "/v3/models"),
        ("GET", "/v2/nothing"),
        ("GET", "/v2/health"),
        ("GET", "/v2/health/other"),
        ("GET", "/v2/models/m/nothing"),
        ("POST", "/v2/models/m/infer/x"),
        ("POST", "/v2//models/m/infer"),
        ("POST", "/v1/models/m:delete"),
        ("POST", "/v1/models/m/versions/1:reload"),
        ("GET", "/v1"),
        ("GET", "/state/x"),
        ("GET", "/config"),
        ("GET", "/metrics/x"),
        ("GET", "/predictions"),
        // What somebody behind the door could read in another way.
        ("GET", "/a%2Fb"),
        ("GET", "/healthz%2f..%2fv2"),
        ("GET", "/demo/../v2/repository/index"),
        ("GET", "/demo/%2e%2E/v2/repository/index"),
        ("GET", "/./metrics"),
        ("GET", "//metrics"),
        ("GET", "/a\\b"),
        ("GET", "/a%5Cb"),
        ("GET", "/a%00"),
        ("GET", "/a%0d%0ab"),
        ("GET", "/%ff"),
        ("GET", "*"),
        ("GET", ""),
        // Decoded once, as behind the door.
        ("POST", "/v2/%2572epository/index"),
    ] {
        let mut surface = surface();
        // Files of a page have any name; the rest of the table must not depend on them.
        surface.page_files = !matches!(path, "/v3/models");
        let wanted = Wanted::of(&method.parse().unwrap(), path, &surface);
        assert_eq!(
            (wanted.scope, wanted.known),
            (Admin, false),
            "{method} {path}"
        );
    }
}

#[test]
fn a_tag_in_the_name_is_not_part_of_it() {
    for path in [
        "/v2/models/secret:tag-v1/infer",
        "/v2/models/secret%40sha256:00-v1/infer",
        "/v1/models/secret:tag-v1:predict",
        "/predictions/secret:x-v1",
    ] {
        let wanted = Wanted::of(&Method::POST, path, &Surface::default());
        assert_eq!(model(&wanted), "secret", "{path}");
    }
}

#[test]
fn the_default_model_is_named_where_it_is_known() {
    let surface = Surface {
        default_model: Some("tumour-risk".into()),
        ..Surface::default()
    };
    for path in ["/invocations", "/score", "/events"] {
        let wanted = Wanted::of(&Method::POST, path, &surface);
        assert_eq!(model(&wanted), "tumour-risk", "{path}");
    }
}
