//! The application: one request in, one answer out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use http::{Request, Response};
use twinfer::{Error, ModelConfig, Result, Signature, bail, err};
use twinfer_package::{Digest, Index, Reference, Store};

use crate::catalog::Catalog;
use crate::deployments::{Chosen, Deployments, draw};
use crate::fused::{Fused, FusedStore};
use crate::models::{Loaded, Models};
use crate::repository::AdminToken;
use crate::run::{
    Asking, Cache, Called, Counted, Directly, Giving, Part, Remembering, Run, Timed, Together,
    Values,
};
use crate::statistics::{Outcome, Statistics};
use crate::target::Target;
use crate::timing::Call;
use crate::trust::{Entry, Gate, Trust};
use crate::{protocol, reply};

/// What a shell can choose.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Most models kept loaded; the least recently used goes first.
    pub max_models: usize,
    /// A clock in milliseconds from any start. Without one, answers carry no
    /// timing: the application has no clock of its own.
    pub clock: Option<fn() -> f64>,
    /// Random numbers, for requests without a key where a deployment has several versions. Without,
    /// the primary answers those: the application has no randomness of its own.
    pub random: Option<fn() -> u64>,
    /// Which packages are loaded.
    pub trust: Trust,
    /// Which model answers in protocols whose requests name none. `None`: the only one of the
    /// registry, where it has one.
    pub default_model: Option<Reference>,
    /// Most rows that run together in [`App::handle_all`].
    pub max_batch: usize,
    /// Bytes of predictions that are kept and given again for the same inputs; 0: none.
    pub prediction_cache: usize,
    /// The path at which Vertex AI asks whether the server is healthy (`AIP_HEALTH_ROUTE`).
    pub health_route: Option<String>,
    /// The path at which Vertex AI asks for predictions (`AIP_PREDICT_ROUTE`).
    pub predict_route: Option<String>,
    /// Who may use the repository extension (index, load, unload). `None`: it is off.
    pub repository: Option<AdminToken>,
    /// Path and query of the metrics of the host (Prometheus' text format, with Triton's names), for
    /// the page. `None`: it has none.
    pub metrics: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        // 64 MiB holds any encoded picture and a 4-megapixel float32 tensor;
        // eight of the models that fit into an instance at all fit together.
        Self {
            max_body: 64 << 20,
            max_models: 8,
            clock: None,
            random: None,
            trust: Trust::Everything,
            default_model: None,
            // Beyond that a batch gains nothing, and the last of it waits for all others.
            max_batch: 64,
            prediction_cache: 0,
            health_route: None,
            predict_route: None,
            repository: None,
            metrics: None,
        }
    }
}

/// The serving application. It can be shared between threads.
pub struct App {
    store: Arc<dyn Store>,
    pub(crate) gate: Gate,
    pub(crate) catalog: Catalog,
    deployments: Deployments,
    pub(crate) models: Models,
    cache: Cache,
    together: Together,
    pub(crate) statistics: Statistics,
    options: Options,
}

impl App {
    /// An application over a registry. Nothing is read yet.
    pub fn new(store: Arc<dyn Store>, options: Options) -> Self {
        Self {
            catalog: Catalog::new(store.clone(), None),
            deployments: Deployments::new(store.clone()),
            models: Models::new(store.clone(), options.max_models, None),
            gate: Gate::new(options.trust.clone()),
            cache: Cache::new(options.prediction_cache),
            together: Together::default(),
            statistics: Statistics::default(),
            store,
            options,
        }
    }

    /// An application that has a package already, beside those of a registry, if there is one.
    /// The trust policy of `options` decides on it like on any other: the signatures that it
    /// asks for are those in the registry.
    pub fn with_fused(
        fused: &Arc<Fused>,
        registry: Option<Arc<dyn Store>>,
        options: Options,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(FusedStore::new(fused.clone(), registry));
        Self {
            catalog: Catalog::new(store.clone(), Some(fused.known().clone())),
            deployments: Deployments::new(store.clone()),
            models: Models::new(store.clone(), options.max_models, Some(fused.loaded())),
            gate: Gate::new(options.trust.clone()),
            cache: Cache::new(options.prediction_cache),
            together: Together::default(),
            statistics: Statistics::default(),
            store,
            options,
        }
    }

    /// The options that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Answers a request. It never fails and never panics on input: what is
    /// wrong with a request is its answer.
    pub fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.handle_since(request, None)
    }

    /// The same, where the shell got the model before: `started` is the time of
    /// [`Options::clock`] at which it began, which the answer counts as loading.
    pub fn handle_since(&self, request: Request<Bytes>, started: Option<f64>) -> Response<Bytes> {
        let (mut parts, body) = request.into_parts();
        draw(&mut parts, self.options.random);
        self.counted(self.handle_with(&parts, body, started, &Directly))
    }

    /// Answers several requests, each as [`App::handle`] would, to the bit. What their models have
    /// to run is run together where models allow that.
    pub fn handle_all(&self, requests: Vec<Request<Bytes>>) -> Answers {
        let mut requests: Vec<(Parts, Bytes)> =
            requests.into_iter().map(Request::into_parts).collect();
        for (parts, _) in &mut requests {
            // Once: they may be asked twice.
            draw(parts, self.options.random);
        }
        let mut answers: Vec<Option<Response<Bytes>>> = Vec::with_capacity(requests.len());
        let mut asked: BTreeMap<String, Vec<(usize, Values)>> = BTreeMap::new();
        for (at, (parts, body)) in requests.iter().enumerate() {
            let asking = Asking::new(&self.together);
            let answer = self.handle_with(parts, body.clone(), None, &asking);
            match asking.asked() {
                None => answers.push(Some(self.counted(answer))),
                Some((digest, inputs)) => {
                    answers.push(None);
                    asked.entry(digest).or_default().push((at, inputs));
                }
            }
        }
        let mut joined = 0;
        for (digest, runs) in asked {
            let (made, together) = self.run_together(&digest, runs);
            joined += together;
            for (at, part) in made {
                if let Some((parts, body)) = requests.get(at) {
                    let giving = Giving::new(part);
                    let answer = self.handle_with(parts, body.clone(), None, &giving);
                    answers[at] = Some(self.counted(answer));
                }
            }
        }
        let lost = || reply::error(&err!(Internal, "the request was not answered"));
        let answers = answers.into_iter().map(|a| a.unwrap_or_else(lost));
        Answers {
            answers: answers.collect(),
            joined,
        }
    }

    fn run_together(
        &self,
        digest: &str,
        runs: Vec<(usize, Values)>,
    ) -> (Vec<(usize, Part)>, usize) {
        let (places, inputs): (Vec<usize>, Vec<Values>) = runs.into_iter().unzip();
        let loaded = digest
            .parse()
            .ok()
            .and_then(|digest| self.models.loaded(&digest));
        let (outputs, joined) = match loaded {
            Some(loaded) => self
                .together
                .run(&loaded.model, &inputs, self.options.max_batch),
            None => {
                let gone = |_| {
                    Part::alone(Err(err!(
                        Internal,
                        "the model was dropped while requests for it came together: send it again"
                    )))
                };
                (inputs.iter().map(gone).collect(), 0)
            }
        };
        (places.into_iter().zip(outputs).collect(), joined)
    }

    fn handle_with(
        &self,
        parts: &Parts,
        body: Bytes,
        started: Option<f64>,
        run: &dyn Run,
    ) -> Answered {
        if body.len() > self.options.max_body {
            return reply::body_too_large(self.options.max_body).into();
        }
        let path = parts.uri.path();
        let Some(route) = protocol::find(parts, &self.options) else {
            return reply::error(&no_route(path)).into();
        };
        if !route.allows(&parts.method) {
            return reply::wrong_method(&parts.method, path, route.methods()).into();
        }
        let asked = protocol::Asked::default();
        let counted = Counted::new(run);
        let remembering = Remembering::new(&counted, &self.cache);
        let timed = Timed::new(&remembering, self.options.clock);
        let request = protocol::Request {
            parts,
            body,
            started,
            asked: &asked,
            run: &timed,
        };
        let answer = check_encoding(parts).and_then(|()| route.answer(self, request));
        let mut answer = answer.unwrap_or_else(|error| route.failed(&error));
        let took = protocol::Took {
            ran: timed.spent(),
            cache: remembering.outcome(),
            executed: counted.executed(),
        };
        asked.describe(&took, answer.headers_mut());
        Answered {
            of: asked.outcome(&took),
            answer,
        }
    }

    /// Counts an answer that is one: not that of a request which is asked again when its model has run.
    fn counted(&self, answered: Answered) -> Response<Bytes> {
        if let Some(outcome) = &answered.of {
            let ok = answered.answer.status().is_success();
            self.statistics.count(outcome, ok);
        }
        answered.answer
    }

    /// The index of the registry as it is now.
    pub(crate) fn index(&self) -> Result<Arc<Index>> {
        self.catalog.index()
    }

    /// What is asked of the registry for a target.
    pub(crate) fn reference(&self, target: &Target, index: &Index) -> Result<Reference> {
        target.resolve(self.options.default_model.as_ref(), index)
    }

    /// What answers for a target by default: the primary where there is a deployment.
    pub(crate) fn primary(&self, target: &Target, index: &Index) -> Result<Reference> {
        let reference = self.reference(target, index)?;
        Ok(self.deployments.choose(reference, None)?.reference)
    }

    /// What answers for a reference whoever sent this request.
    pub(crate) fn choose(&self, reference: Reference, parts: &Parts) -> Result<Chosen> {
        self.deployments.choose(reference, Some(parts))
    }

    /// The model of a target, loaded if it is not yet.
    pub(crate) fn load(&self, target: &Target) -> Result<Arc<Loaded>> {
        let index = self.index()?;
        let reference = self.primary(target, &index)?;
        let entry = self.admit(&index, &reference)?;
        self.models.get(&reference, &entry)
    }

    /// The same, with the clock of a call that runs from the start of the request.
    pub(crate) fn call<'a>(
        &self,
        target: &Target,
        request: &protocol::Request<'a>,
    ) -> Result<(Called<'a>, Call)> {
        let call = Call::new(self.options.clock).since(request.started);
        let index = self.index()?;
        let reference = self.reference(target, &index)?;
        let chosen = self.choose(reference, request.parts)?;
        if let Some(by) = chosen.by {
            // Before it is loaded: a version that does not load is to be seen as such.
            request.asked.set_assigned(by);
        }
        let entry = self.admit(&index, &chosen.reference)?;
        let loaded = self.models.get(&chosen.reference, &entry)?;
        let call = call.loaded();
        request.asked.set(&loaded, call);
        Ok((Called::new(loaded, request.run), call))
    }

    /// What a model says of itself. Its file is not read where the package has its signature.
    pub(crate) fn describe(&self, target: &Target) -> Result<Described> {
        let index = self.index()?;
        let reference = self.primary(target, &index)?;
        let entry = self.admit(&index, &reference)?;
        let config = self.models.config(&reference, &entry.descriptor)?;
        let signature = match &config.signature {
            Some(signature) => signature.clone(),
            None => self
                .models
                .get(&reference, &entry)?
                .model
                .signature()
                .clone(),
        };
        Ok(Described {
            config,
            signature,
            digest: entry.descriptor.digest,
            index,
        })
    }

    pub(crate) fn admit(&self, index: &Arc<Index>, reference: &Reference) -> Result<Entry> {
        self.gate.admit(&*self.store, index, reference)
    }

    /// Ready is who can read the registry and has no malformed trust policy; models are loaded on demand.
    pub(crate) fn check(&self) -> Result<()> {
        self.gate.check()?;
        self.index().map(drop)
    }
}

/// An answer, and what came of the request where it came as far as a model.
struct Answered {
    answer: Response<Bytes>,
    of: Option<Outcome>,
}

impl From<Response<Bytes>> for Answered {
    fn from(answer: Response<Bytes>) -> Self {
        Self { answer, of: None }
    }
}

/// The answers to several requests.
pub struct Answers {
    /// One for each, in their order.
    pub answers: Vec<Response<Bytes>>,
    /// How many of the requests ran together with others.
    pub joined: usize,
}

/// What is known of a model without running it.
pub(crate) struct Described {
    pub(crate) config: ModelConfig,
    pub(crate) signature: Signature,
    pub(crate) digest: Digest,
    /// The index that it was found in.
    pub(crate) index: Arc<Index>,
}

fn no_route(path: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    err!(
        NotFound,
        "there is no route {shown:?}; models are at /v2/models/NAME[/versions/VERSION], with /ready, /infer and /predict below"
    )
}

/// Compressed bodies are not taken: a small one could become any size.
fn check_encoding(parts: &Parts) -> Result<()> {
    match parts.headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => bail!(
            UnsupportedMediaType,
            "the content encoding {encoding:?} is not taken: send the body uncompressed"
        ),
        _ => Ok(()),
    }
}
