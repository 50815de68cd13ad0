//! Following a registry: what changed there is tested, and only then served.

mod deployments;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::sync::watch;
use twinfer::{Error, Result};
use twinfer_host::{Handle, Log, LogLevel};
use twinfer_package::{Digest, Index, Package, Parts, Reference};

use super::approved::{Approved, View};
use super::change::{Change, Moved, Refusal, is_passing};
use super::source::Source;
use crate::trust::Trust;

/// When a change that was refused for a reason that may pass is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// How long the instances may take to load what will be served; those that are not ready by
/// then load it when they are asked.
const PREPARE: Duration = Duration::from_secs(30);

/// Keeps the approved index at what the registry has and what passes.
pub struct Follower {
    source: Source,
    approved: Approved,
    trust: Trust,
    log: Log,
    /// As soon as there is one.
    host: Option<Handle>,
    stop: watch::Receiver<bool>,
    /// The index that was looked at last.
    last: Option<Index>,
    refused: BTreeMap<String, Refused>,
    counters: BTreeMap<String, u64>,
    unreachable: bool,
    /// Which deployments there should be.
    wanted: deployments::Wanted,
}

/// A change that was not taken.
struct Refused {
    /// What the registry had.
    part: Index,
    code: String,
    /// When it is tried again, if at all.
    retry: Option<Instant>,
}

impl Follower {
    /// Approves what is there at the start. The first start with a registry takes it as it is;
    /// a later one begins with what was approved last, and tests what changed since.
    ///
    /// # Errors
    /// `storage`; what keeps a remote registry from being read, when nothing was approved before.
    pub fn start(
        source: Source,
        home: Option<&std::path::Path>,
        trust: &Trust,
        log: &Log,
        stop: watch::Receiver<bool>,
    ) -> Result<Self> {
        let (approved, last) = Approved::open(home)?;
        let mut follower = Self {
            source,
            approved,
            trust: trust.clone(),
            log: log.clone(),
            host: None,
            stop,
            last: None,
            refused: BTreeMap::new(),
            counters: BTreeMap::new(),
            unreachable: false,
            wanted: deployments::Wanted::default(),
        };
        let from = match last {
            Some(last) => {
                let last = follower.restored(last);
                follower.approve(last)?;
                follower.check();
                match follower.unreachable {
                    true => "last_approved",
                    false => "registry",
                }
            }
            None => {
                follower.begin()?;
                if !follower.unreachable {
                    follower.seen();
                }
                "registry"
            }
        };
        let packages = follower.approved.index().tags().len();
        follower.event(
            LogLevel::Info,
            "following",
            json!({"registry": follower.source.to_string(), "from": from, "packages": packages}),
        );
        Ok(follower)
    }

    /// What is approved, in the registry's content.
    ///
    /// # Errors
    /// `internal`.
    pub fn view(&self) -> Result<View<'_>> {
        View::new(self.approved.index(), self.source.store())
    }

    /// What is approved.
    pub fn index(&self) -> &Index {
        self.approved.index()
    }

    /// The folder that the host reads the index from.
    pub fn served(&self) -> std::path::PathBuf {
        self.approved.served()
    }

    /// The folder of this run.
    pub fn folder(&self) -> &std::path::Path {
        self.approved.folder()
    }

    /// The host, as soon as there is one.
    pub fn host(&self) -> Option<&Handle> {
        self.host.as_ref()
    }

    /// From now on changes are tried out in this host, and its instances prepared.
    pub fn attach(&mut self, host: Handle) {
        self.host = Some(host);
    }

    /// From now on changes have to pass this policy. What is approved stays so: the component asks
    /// the policy at each request.
    pub fn trust(&mut self, trust: &Trust) {
        self.trust = trust.clone();
    }

    /// Looks at what was refused once more, though it is the same.
    pub fn forget_refusals(&mut self) {
        for refused in self.refused.values_mut() {
            refused.retry = Some(Instant::now());
        }
        self.wanted.forget_refusals();
    }

    /// The first index: as it is, but for packages of a remote registry that do not come whole.
    fn begin(&mut self) -> Result<()> {
        let index = match self.source.index() {
            Ok(index) => index,
            Err(error) if self.source.is_remote() => return Err(error),
            Err(error) => {
                self.lost(&error);
                return Ok(());
            }
        };
        if !self.source.is_remote() {
            self.last = Some(index.clone());
            return self.approve(index);
        }
        let mut fetched = index.clone();
        for (name, part) in index.by_name() {
            if let Err(error) = self.fetch(&name, &part) {
                self.refuse(&name, &part, *error);
                fetched = without(fetched, &name);
            }
        }
        self.last = Some(index);
        self.approve(fetched)
    }

    /// Gets everything of a name, and verifies it.
    fn fetch(&self, name: &str, part: &Index) -> Result<(), Box<Refusal>> {
        let (none, view) = (Index::default(), View::new(part, self.source.store()));
        let change = Change::between(name, &none, part);
        let fetch = |reference: &Reference| {
            let view = view.as_ref().map_err(Clone::clone)?;
            Package::open_parts(view, reference, Parts::All)?;
            self.attached(part)
        };
        let held = self.source.hold(name, part);
        held.map_err(|error| Box::new(Refusal::new(name.to_owned(), None, &error)))?;
        for Moved { reference, to, .. } in change.iter().flat_map(|change| &change.moved) {
            fetch(reference).map_err(|error| {
                Box::new(Refusal::new(reference.to_string(), Some(*to), &error))
            })?;
        }
        Ok(())
    }

    /// What was approved before the last end, without the names that are no longer here and
    /// cannot be got again: those are new ones for the next look at the registry.
    fn restored(&self, mut last: Index) -> Index {
        if !self.source.is_remote() {
            return last;
        }
        for (name, part) in last.by_name() {
            if let Err(no) = self.fetch(&name, &part) {
                let fields =
                    json!({"reference": no.reference, "code": no.code, "message": no.message});
                self.event(LogLevel::Warn, "not_restored", fields);
                last = without(last, &name);
            }
        }
        for tag in last.tags() {
            self.used(Reference::new(&tag.name, &tag.tag), tag.digest);
        }
        // Best effort: what is kept too long only needs space.
        let _ = self.source.prune();
        last
    }

    /// Best effort as well: it is what an eviction goes by, and there is none before the next
    /// start.
    fn used(&self, reference: Result<Reference>, digest: Digest) {
        let noted = reference.and_then(|reference| self.source.use_from_now_on(&reference, digest));
        if let Err(error) = noted {
            self.not_kept(&error);
        }
    }

    /// Gets what is attached to packages, for pages that have a trust policy of their own.
    fn attached(&self, part: &Index) -> Result<()> {
        match self.source.is_remote() {
            true => twinfer_registry::read_all(self.source.store(), &part.attached()?),
            false => Ok(()),
        }
    }

    /// Compares the registry with what is approved, and takes what passes.
    pub fn check(&mut self) {
        match self.source.index() {
            Ok(index) => {
                self.found();
                self.compare(index);
                self.seen();
            }
            Err(error) => self.lost(&error),
        }
        self.follow_deployments();
    }

    /// The registry was read: for those who watch whether it still is.
    fn seen(&self) {
        let fields = json!({"refused": self.refused.len()});
        self.event(LogLevel::Debug, "registry_read", fields);
    }

    fn compare(&mut self, index: Index) {
        let index = self.with_what_is_in_force(index);
        let due = |refused: &Refused| refused.retry.is_some_and(|at| at <= Instant::now());
        if self.last.as_ref() == Some(&index) && !self.refused.values().any(due) {
            return;
        }
        let known = self.approved.index().digests();
        let others = index.without_names(&known);
        let (old, new) = (self.approved.index().by_name(), index.by_name());
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let none = Index::default();
        for name in names {
            if *self.stop.borrow() {
                return;
            }
            let part = |parts: &BTreeMap<String, Index>| parts.get(name).unwrap_or(&none).clone();
            self.check_name(name, &part(&old), &part(&new), &others);
        }
        if self.approved.index().without_names(&known) != others {
            // Nobody misses them: the next change of any name brings them along.
            let _ = self.exchange("", &none, &others);
        }
        self.last = Some(index);
    }

    fn check_name(&mut self, name: &str, old: &Index, new: &Index, others: &Index) {
        if old == new {
            self.refused.remove(name);
            return;
        }
        if let Some(refused) = self.refused.get(name)
            && refused.part == *new
            && refused.retry.is_none_or(|at| Instant::now() < at)
        {
            return;
        }
        let begin = Instant::now();
        let failed = |error| Box::new(Refusal::new(name.to_owned(), None, &error));
        let change = match Change::between(name, old, new) {
            Ok(change) => change,
            Err(error) => return self.refuse(name, new, *failed(error)),
        };
        let refusal = match self.take(&change, others) {
            Ok(counter) => match self.exchange(name, new, others) {
                Ok(()) => return self.accepted(&change, counter, begin),
                Err(error) => failed(error),
            },
            Err(_) if *self.stop.borrow() => return,
            Err(refusal) => refusal,
        };
        let genuine = !refusal.is_of_the_list();
        self.refuse(name, new, *refusal);
        if change.gone.is_empty() || !genuine {
            return;
        }
        // What the registry no longer has is not served, whatever is new beside it.
        let gone = change.gone.keys().cloned().collect();
        match self.exchange(name, &old.without_tags(&gone), others) {
            Ok(()) => self.removed(&change),
            Err(error) => self.refuse(name, new, *failed(error)),
        }
    }

    /// Tests a change, here and in the component, and prepares the instances for it.
    fn take(&self, change: &Change<'_>, others: &Index) -> Result<Option<u64>, Box<Refusal>> {
        let last = self.counters.get(change.name).copied();
        let counter = change.admit(self.source.store(), &self.trust, last)?;
        change.test(self.source.store())?;
        let attached = self
            .attached(change.new)
            .and_then(|()| self.source.hold(change.name, change.new));
        attached.map_err(|e| Box::new(Refusal::new(change.name.to_owned(), None, &e)))?;
        let Some(host) = &self.host else {
            return Ok(counter);
        };
        self.try_out(host, change, others)?;
        let replacing = change.replacing();
        let shown = change.new.untagged(&replacing, change.old);
        if !replacing.is_empty() && self.approved.show(&shown).is_ok() {
            let path = |digest| format!("/v2/models/{}/versions/{digest}/ready", change.name);
            let paths: Vec<String> = replacing.iter().map(path).collect();
            host.prepare(change.name, &paths, PREPARE);
        }
        Ok(counter)
    }

    /// Whether the component, with its limits and its own decisions, can do what will be asked
    /// of it: each package in an instance of its own.
    fn try_out(
        &self,
        host: &Handle,
        change: &Change<'_>,
        others: &Index,
    ) -> Result<(), Box<Refusal>> {
        let mut index = self.approved.index().clone();
        index.replace(change.name, change.new, others);
        for Moved { reference, to, .. } in &change.moved {
            let refusal = |code: String, message: String| {
                Box::new(Refusal {
                    reference: reference.to_string(),
                    digest: Some(*to),
                    passing: is_passing(&code),
                    code,
                    message,
                })
            };
            let folder = self.approved.trial(&index);
            let folder = folder.map_err(|e| refusal(e.code().as_str().into(), e.to_string()))?;
            let tag = reference.tag().unwrap_or_default();
            let path = format!("/v2/models/{}/versions/{tag}/ready", change.name);
            host.try_out(&folder, &[path])
                .map_err(|no| refusal(no.code, format!("in the component: {}", no.message)))?;
        }
        Ok(())
    }

    fn accepted(&mut self, change: &Change<'_>, counter: Option<u64>, begin: Instant) {
        self.refused.remove(change.name);
        if let Some(counter) = counter {
            let last = self.counters.entry(change.name.to_owned()).or_default();
            *last = counter.max(*last);
            if let Err(error) = self.trust.remember(change.name, counter) {
                self.not_kept(&error);
            }
        }
        let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        for Moved {
            reference,
            from,
            to,
        } in &change.moved
        {
            let fields =
                json!({"reference": reference.to_string(), "from": from, "to": to, "ms": ms});
            self.event(LogLevel::Info, "updated", fields);
            self.used(Ok(reference.clone()), *to);
        }
        self.removed(change);
        if change.moved.is_empty() && change.gone.is_empty() {
            let fields = json!({"reference": change.name, "ms": ms});
            self.event(LogLevel::Info, "signatures_updated", fields);
        }
    }

    fn removed(&self, change: &Change<'_>) {
        for (tag, digest) in &change.gone {
            let fields = json!({"reference": format!("{}:{tag}", change.name), "digest": digest});
            self.event(LogLevel::Info, "removed", fields);
        }
    }

    /// Said once for each state of the registry.
    fn refuse(&mut self, name: &str, part: &Index, refusal: Refusal) {
        let known = self.refused.get(name);
        let said = known.is_some_and(|known| known.part == *part && known.code == refusal.code);
        if !said {
            let fields = json!({
                "reference": refusal.reference, "digest": refusal.digest,
                "code": refusal.code, "message": refusal.message, "retried": refusal.passing,
            });
            self.event(LogLevel::Error, "update_refused", fields);
        }
        let refused = Refused {
            part: part.clone(),
            code: refusal.code,
            retry: refusal.passing.then(|| Instant::now() + RETRY),
        };
        self.refused.insert(name.to_owned(), refused);
    }

    fn approve(&mut self, index: Index) -> Result<()> {
        if let Some(error) = self.approved.approve(index)? {
            self.not_kept(&error);
        }
        Ok(())
    }

    fn exchange(&mut self, name: &str, part: &Index, others: &Index) -> Result<()> {
        let mut index = self.approved.index().clone();
        index.replace(name, part, others);
        self.approve(index)
    }

    fn lost(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.unreachable, true) {
            let fields = json!({
                "registry": self.source.to_string(), "code": error.code().as_str(), "message": error.message(),
            });
            self.event(LogLevel::Warn, "source_unreachable", fields);
        }
    }

    fn found(&mut self) {
        if std::mem::replace(&mut self.unreachable, false) {
            let fields = json!({"registry": self.source.to_string()});
            self.event(LogLevel::Info, "source_reachable", fields);
        }
    }

    /// Nothing changes for this server; the next one may begin with less.
    fn not_kept(&self, error: &Error) {
        let fields = json!({"code": error.code().as_str(), "message": error.message()});
        self.event(LogLevel::Warn, "approved_not_kept", fields);
    }

    fn event(&self, level: LogLevel, event: &str, fields: Json) {
        self.log.event(level, event, fields);
    }
}

fn without(mut index: Index, name: &str) -> Index {
    let others = index.without_names(&index.digests());
    index.replace(name, &Index::default(), &others);
    index
}
