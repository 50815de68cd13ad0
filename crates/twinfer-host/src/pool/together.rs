//! Requests for one path that come within a short time, handed to one instance as one.
//!
//! The host knows nothing of models. It puts the requests into a bundle (`twinfer-bundle`); the
//! component runs together what may run together, and answers each as it would alone. It also
//! says how many it could join: a path whose model takes no batch is left alone for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use twinfer_bundle::{CONTENT_TYPE as BUNDLE, JOINED, TOKEN};

use super::{Admission, Pool};
use crate::config::Limits;
use crate::deadline::Deadline;
use crate::log::LogLevel;
use crate::reply::{Failure, ReplyCode};

/// How long a path is left alone whose requests could not be joined.
const ALONE: Duration = Duration::from_secs(60);
/// Larger bodies are no rows of a table; copying them would cost more than it gains.
const MAX_BODY: usize = 256 << 10;
/// Paths that are left alone; more are names that clients made up.
const MAX_PATHS: usize = 1024;

type Answer = Result<Response<Bytes>, Failure>;

/// What waits to be handed over.
pub(super) struct Together {
    token: HeaderValue,
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    open: HashMap<String, Group>,
    alone: HashMap<String, Instant>,
}

struct Group {
    members: Vec<Member>,
    full: Arc<Notify>,
}

struct Member {
    request: Request<Bytes>,
    deadline: Deadline,
    reply: oneshot::Sender<Answer>,
    admission: Admission,
}

impl Together {
    /// `token`: the secret that the component knows, too.
    pub(super) fn new(token: HeaderValue) -> Self {
        Self {
            token,
            groups: Mutex::default(),
        }
    }

    /// Whether this request may wait for others.
    pub(super) fn takes(&self, request: &Request<Bytes>, limits: &Limits) -> bool {
        if limits.batch_window.is_none() {
            return false;
        }
        let path = request.uri().path();
        let alone = || {
            let since = self.groups().alone.get(path).copied();
            since.is_some_and(|since| since.elapsed() < ALONE)
        };
        request.method() == Method::POST && request.body().len() <= MAX_BODY && !alone()
    }

    /// The answer to a request that others may go with.
    pub(super) async fn answer(
        &self,
        pool: &Arc<Pool>,
        admission: Admission,
        request: Request<Bytes>,
        deadline: Deadline,
    ) -> Answer {
        let (reply, answer) = oneshot::channel();
        let member = Member {
            request,
            deadline,
            reply,
            admission,
        };
        let config = pool.config();
        let limits = &config.limits;
        self.join(pool, member, limits);
        let until = deadline.or_at(Instant::now() + limits.queue_timeout + limits.request_timeout);
        match tokio::time::timeout_at(until.into(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::new(
                ReplyCode::Internal,
                "the model server failed on this request",
            )),
            Err(_) => Err(Deadline::failure("it waited for others, or ran")),
        }
    }

    fn join(&self, pool: &Arc<Pool>, member: Member, limits: &Limits) {
        let path = member.request.uri().path().to_owned();
        let mut groups = self.groups();
        if let Some(group) = groups.open.get_mut(&path) {
            group.members.push(member);
            if group.members.len() >= limits.max_batch {
                group.full.notify_one();
            }
            return;
        }
        let full = Arc::new(Notify::new());
        let group = Group {
            members: vec![member],
            full: full.clone(),
        };
        groups.open.insert(path.clone(), group);
        drop(groups);
        let (pool, window) = (pool.clone(), limits.batch_window.unwrap_or_default());
        tokio::spawn(async move {
            let _ = tokio::time::timeout(window, full.notified()).await;
            pool.hand_over(path).await;
        });
    }

    /// Those who still wait, and the group with them.
    fn close(&self, path: &str) -> Vec<Member> {
        let group = self.groups().open.remove(path);
        let members = group.map(|group| group.members).unwrap_or_default();
        let now = Instant::now();
        let waits = |member: &Member| !member.reply.is_closed() && !member.deadline.passed(now);
        members.into_iter().filter(waits).collect()
    }

    fn leave_alone(&self, path: String) {
        let alone = &mut self.groups().alone;
        if alone.len() >= MAX_PATHS {
            alone.retain(|_, since| since.elapsed() < ALONE);
        }
        if alone.len() < MAX_PATHS {
            alone.insert(path, Instant::now());
        }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bundle(&self, members: &[Member]) -> Option<Request<Bytes>> {
        let first = members.first()?;
        let requests: Vec<Request<Bytes>> = members.iter().map(|m| m.request.clone()).collect();
        let mut bundle = Request::new(twinfer_bundle::of_requests(&requests));
        *bundle.method_mut() = Method::POST;
        *bundle.uri_mut() = first.request.uri().clone();
        let headers = bundle.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(BUNDLE));
        headers.insert(TOKEN, self.token.clone());
        Some(bundle)
    }
}

impl Pool {
    async fn hand_over(self: Arc<Self>, path: String) {
        let Some(together) = &self.together else {
            return;
        };
        let members = together.close(&path);
        let answers = match members.len() {
            0 => return,
            1 => None,
            _ => self.answer_bundle(together, &members, path).await,
        };
        let Some(answers) = answers else {
            // A request that ends an instance must not take the others along.
            for member in members {
                let pool = self.clone();
                tokio::spawn(async move { member.alone(&pool).await });
            }
            return;
        };
        for (member, answer) in members.into_iter().zip(answers) {
            let _ = member.reply.send(Ok(answer));
        }
    }

    /// `None` where the bundle as a whole had no good answer.
    async fn answer_bundle(
        self: &Arc<Self>,
        together: &Together,
        members: &[Member],
        path: String,
    ) -> Option<Vec<Response<Bytes>>> {
        let bundle = together.bundle(members)?;
        // Whoever waits longest: the others are told by their own clocks.
        let answer = self.handle_alone(None, bundle, Deadline::NONE).await.ok()?;
        let joined = answer
            .headers()
            .get(JOINED)?
            .to_str()
            .ok()?
            .parse::<usize>()
            .ok()?;
        let fields = json!({"path": path, "requests": members.len(), "joined": joined});
        self.log.event(LogLevel::Debug, "handed_over", fields);
        if joined == 0 {
            together.leave_alone(path);
        }
        let answers = twinfer_bundle::responses(answer.into_body()).ok()?;
        (answers.len() == members.len()).then_some(answers)
    }
}

impl Member {
    async fn alone(self, pool: &Arc<Pool>) {
        let mut reply = self.reply;
        let answer = pool.handle_alone(Some(self.admission), self.request, self.deadline);
        // Dropped when nobody waits any more, which ends the run.
        tokio::select! {
            answer = answer => drop(reply.send(answer)),
            () = reply.closed() => {}
        }
    }
}
