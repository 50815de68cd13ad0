//! Packages over a network: fetched through the one cache, before the application is asked.

mod approved;
mod deployment;
mod follow;
mod view;

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use http::request::Parts;
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_cache::{
    Backend, Cache, Env, Event, LoadOptions, Origin, Policy, Source, Wanted, may_be_old,
};
use twinfer_package::{Admission, Digest, Index, Parts as Layers, Reference, Seen, Store};

use crate::deployments::draw;
use crate::trust::Trust;
use crate::{App, Wants};
use approved::{Approved, Held};
use view::View;

/// Settings of a [`Remote`].
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// How the registry is asked.
    pub policy: Policy,
    /// Milliseconds between two questions whether anything is new.
    pub poll: u64,
    /// Milliseconds after which a request whose package is still on its way is answered with
    /// `timeout`. What came until then is kept.
    pub patience: u64,
    /// Milliseconds that following the registry may take at a time: hosts wait for that, and
    /// some end an instance that takes too long. The next time goes on from there.
    pub turn: u64,
    /// Takes what happens, for the log.
    pub log: fn(&str),
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            poll: 30_000,
            patience: 25_000,
            turn: 20_000,
            log: |_| {},
        }
    }
}

/// The packages of a registry on a network, for an [`App`] over [`Remote::store`].
///
/// [`Remote::prepare`] comes before each request, [`Remote::follow`] after its answer.
///
/// The application sees an *approved* index. All entries of a name in it move together, and
/// once the name is used, only after its new packages were fetched, admitted by the trust
/// policy, and have proved themselves on their golden examples. Deployments beside the index
/// are followed in the same way: one comes into force when all of its versions are loaded and
/// have proved themselves. Who shares the cache shares the approved index and the deployments
/// too. The registry must give one index for all references, as a static host does.
pub struct Remote<B: Backend, E, O> {
    cache: Cache<Arc<B>, E>,
    origins: Vec<O>,
    options: RemoteOptions,
    view: Arc<View<B>>,
    state: Mutex<State<B::Lock>>,
}

struct State<L> {
    /// What this instance was asked for, and has.
    used: HashSet<Reference>,
    /// Packages that must not be evicted.
    leases: BTreeMap<Digest, L>,
    /// Names whose newer packages were refused, and the index by which they were.
    refused: BTreeMap<String, Arc<Approved>>,
    /// Names whose newer deployment was refused, and that document.
    refused_deployments: BTreeMap<String, String>,
    /// When the registry was asked last, in milliseconds since 1970.
    checked: Option<u64>,
    following: bool,
    /// The registry forbids to keep what it answers.
    no_store: bool,
}

impl<B: Backend, E: Env, O: Origin> Remote<B, E, O> {
    /// The registry at these origins, which are mirrors of each other.
    pub fn new(
        backend: B,
        env: E,
        cache: twinfer_cache::Options,
        origins: Vec<O>,
        options: RemoteOptions,
    ) -> Self {
        let backend = Arc::new(backend);
        Self {
            view: Arc::new(View::new(backend.clone())),
            cache: Cache::new(backend, env, cache),
            origins,
            options,
            state: Mutex::new(State {
                used: HashSet::new(),
                leases: BTreeMap::new(),
                refused: BTreeMap::new(),
                refused_deployments: BTreeMap::new(),
                checked: None,
                following: false,
                no_store: false,
            }),
        }
    }

    /// What is there at once, for the application.
    pub fn store(&self) -> Arc<dyn Store>
    where
        B: Send + Sync + 'static,
    {
        self.view.clone()
    }

    /// Gets what a request wants. A warm instance has it, and does no input or output. The request
    /// is assigned to a version of a deployment by that, which [`App::handle`] keeps to.
    ///
    /// # Errors
    /// Those of [`Cache::load`]; `timeout` when it is still on its way. [`App::unmet`] makes
    /// an answer of them.
    pub async fn prepare(&self, app: &App, parts: &mut Parts) -> Result<()> {
        draw(parts, app.options().random);
        let Some(wants) = app.wants(parts) else {
            return Ok(());
        };
        let meet = async {
            self.meet(app, parts, &wants).await?;
            match app.wants(parts) {
                // The index says which model it is that the request does not name.
                Some(more) if more != wants => self.meet(app, parts, &more).await,
                _ => Ok(()),
            }
        };
        match self.within(self.options.patience, meet).await {
            Some(Err(error)) if error.code() == ErrorCode::NotFound => {
                // There is such a route; the registry is not where it should be.
                Err(Error::new(ErrorCode::Storage, error.message().to_owned()))
            }
            Some(met) => met,
            None => bail!(
                Timeout,
                "the model is still being fetched: what came so far is kept, ask again"
            ),
        }
    }

    async fn within<T>(&self, milliseconds: u64, future: impl Future<Output = T>) -> Option<T> {
        match select(pin!(future), pin!(self.cache.env().sleep(milliseconds))).await {
            Either::Left((value, _)) => Some(value),
            Either::Right(_) => None,
        }
    }

    async fn meet(&self, app: &App, parts: &Parts, wants: &Wants) -> Result<()> {
        self.begin().await?;
        if self.options.policy == Policy::Online && self.due() {
            // What this request wants is tested before it is answered, also where only others
            // have used it so far.
            let wanted = match wants {
                Wants::Model(reference) => Some(reference),
                Wants::Index => None,
            };
            self.refresh(app, wanted).await;
        }
        let Wants::Model(reference) = wants else {
            return Ok(());
        };
        if self.learn_deployment(app, reference).await?
            && let Some(Wants::Model(assigned)) = app.wants(parts)
        {
            return self.model(app, &assigned).await;
        }
        self.model(app, reference).await
    }

    /// Gets an index, if there is none yet: the approved one of those who share the cache, or
    /// what the registry says.
    async fn begin(&self) -> Result<()> {
        if self.view.approved().is_some() {
            return Ok(());
        }
        let key = Approved::key(self.registry()?);
        let document = self.cache.backend().document(&key).await.ok().flatten();
        let approved = match document.and_then(|document| Approved::read(&document)) {
            Some(approved) => approved,
            None => {
                let resolved = self
                    .cache
                    .resolve(
                        &self.origins,
                        &any()?,
                        self.options.policy,
                        &self.listener(),
                    )
                    .await?;
                if matches!(resolved.source, Source::Registry | Source::LastGood) {
                    self.state().checked = Some(self.cache.env().now());
                }
                self.state().no_store = !resolved.keep;
                Approved::new(resolved.index)?
            }
        };
        self.view.approve(Arc::new(approved));
        Ok(())
    }

    async fn model(&self, app: &App, reference: &Reference) -> Result<()> {
        if let Ok(digest) = app.admitted(reference)
            && app.holds(&digest)
        {
            self.state().used.insert(reference.clone());
            return Ok(());
        }
        match self.load(app, reference).await {
            Err(error) if may_be_old(&error) && self.may_ask_early() => {
                self.refresh(app, Some(reference)).await;
                self.load(app, reference).await
            }
            loaded => loaded,
        }
    }

    async fn load(&self, app: &App, reference: &Reference) -> Result<()> {
        let approved = self.approved()?;
        let options = LoadOptions {
            // The index is in memory, and is asked for what is new elsewhere.
            policy: Policy::Online,
            trust: self.trust(app, reference)?,
            parts: Layers::Model,
            candidate: false,
        };
        let mut loaded = self
            .cache
            .load(&self.held(&approved), reference, &options, &self.listener())
            .await?;
        self.get_signatures(app, &approved, reference).await?;
        let digest = *loaded.package.digest();
        app.hold(digest, loaded.package.take_model()?);
        {
            let mut state = self.state();
            state.used.insert(reference.clone());
            state.leases.retain(|held, _| app.holds(held));
            state
                .leases
                .extend(loaded.lease.map(|lease| (digest, lease)));
        }
        self.note_use(reference.name()).await;
        Ok(())
    }

    /// The application admits by itself, and reads the signatures for that at once: where the
    /// cache could not keep them, they are held in memory.
    async fn get_signatures(
        &self,
        app: &App,
        approved: &Approved,
        reference: &Reference,
    ) -> Result<()> {
        let Some((policy, seen)) = self.trust(app, reference)? else {
            return Ok(());
        };
        let index: Arc<Index> = Arc::new(approved.index.clone());
        let mut admission = Admission::with_index(index, reference, policy, seen)?;
        loop {
            let needs = admission.needs();
            if needs.is_empty() {
                return Ok(());
            }
            for descriptor in needs {
                let there = self.cache.backend().size(&descriptor.digest).await;
                let content = self
                    .cache
                    .get(&self.origins, &Wanted::from(&descriptor), &self.listener())
                    .await?;
                if !matches!(there, Ok(Some(_))) {
                    self.view
                        .put_aside(descriptor.digest, content.bytes().to_vec());
                }
                admission.supply(&descriptor.digest, content.into_bytes())?;
            }
        }
    }

    /// A name that is used moves only after a test from now on.
    async fn note_use(&self, name: &str) {
        let Some(approved) = self.view.approved() else {
            return;
        };
        if approved.used.contains(name) {
            return;
        }
        let mut approved = Approved::clone(&approved);
        approved.used.insert(name.to_owned());
        self.approve(approved).await;
    }

    async fn approve(&self, approved: Approved) {
        let approved = Arc::new(approved);
        self.view.approve(approved.clone());
        let kept = async {
            let key = Approved::key(self.registry()?);
            if self.state().no_store {
                return self.cache.backend().remove_document(&key).await;
            }
            let document = approved.write()?;
            self.cache.backend().set_document(&key, &document).await
        };
        if let Err(error) = kept.await {
            (self.options.log)(&format!("the approved index is not kept: {error}"));
        }
    }

    fn trust<'a>(
        &self,
        app: &'a App,
        reference: &Reference,
    ) -> Result<Option<(&'a twinfer_package::TrustPolicy, Seen)>> {
        match &app.options().trust {
            Trust::Everything => Ok(None),
            Trust::Broken(error) => Err(error.clone()),
            Trust::Policy(guard) => Ok(Some((
                &guard.policy,
                Seen {
                    now: (guard.now)(),
                    last_counter: app.counter(reference.name()),
                },
            ))),
        }
    }

    fn held<'a>(&'a self, approved: &'a Approved) -> Vec<Held<'a, O>> {
        let offline = self.options.policy == Policy::Offline;
        let origins = self.origins.iter();
        origins
            .map(|origin| Held {
                origin,
                index: &approved.json,
                offline,
            })
            .collect()
    }

    fn approved(&self) -> Result<Arc<Approved>> {
        let approved = self.view.approved();
        approved.ok_or_else(|| err!(Internal, "a model is wanted before the index is there"))
    }

    fn registry(&self) -> Result<&str> {
        let first = self.origins.first();
        Ok(first
            .ok_or_else(|| err!(Network, "there is no registry to ask"))?
            .id())
    }

    fn listener(&self) -> impl Fn(Event<'_>) {
        let log = self.options.log;
        move |event| match event {
            Event::Retry { error, wait } => log(&format!("tried again in {wait} ms: {error}")),
            Event::Damaged { wanted, error } => log(&format!(
                "{} in the cache is damaged, and is fetched again: {error}",
                wanted.label()
            )),
            Event::NotKept { error } => log(&format!("not kept in the cache: {error}")),
            Event::Unreachable { error } => log(&format!(
                "no registry answers, what is there is used on: {error}"
            )),
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State<B::Lock>> {
        // Nothing that holds it leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All references have one index.
fn any() -> Result<Reference> {
    "any".parse()
}
