//! The list of cases and what came out of them, as all places read and write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinfer_package::GoldenTensor;

use super::fault::Fault;
use super::server::BESIDE;
use crate::answer::Answer;

/// The file of cases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheCases {
    /// The lying server: `http://host:port`.
    pub server: String,
    /// The origin to which it redirects.
    pub elsewhere: String,
    /// An address where nobody listens: `http://host:port`.
    pub nobody: String,
    /// What is asked of each model, by its name.
    pub inputs: BTreeMap<String, Vec<GoldenTensor>>,
    /// What the versions of each model answer: `steady 1`.
    pub answers: BTreeMap<String, Vec<GoldenTensor>>,
    /// The layer that the faults have to do with, by version: its digest in hexadecimal digits.
    pub layers: BTreeMap<String, String>,
    /// The cases. None depends on another.
    pub cases: Vec<CacheCase>,
}

/// One case. It begins with an empty cache and a session of its own at the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheCase {
    /// Its name, unique in the file. With the place behind it, it is the name of the session.
    pub id: String,
    /// What is loaded: `steady:live`, or with a digest.
    pub reference: String,
    /// What the registry does.
    pub fault: Fault,
    /// The registry is one where nobody listens.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nobody: bool,
    /// What further mirrors do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Fault>,
    /// What a place must be able to do for this case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// Settings of the cache: milliseconds in which a kilobyte must arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<u64>,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What not every place can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// What one load keeps is there for the next one.
    Kept,
    /// What a broken load leaves is there for the next one.
    Partial,
    /// What is kept can be damaged from outside.
    Damage,
    /// The time that the cache waits for bytes can be set.
    Stall,
    /// The clock can be set.
    Clock,
    /// A loaded model can be brought up to date.
    Update,
    /// Several registries.
    Mirrors,
    /// The policy can be chosen for each load.
    Policy,
    /// A digest is loaded without an index.
    Pinned,
}

/// What is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The package is loaded and asked.
    Load(Load),
    /// What is loaded is brought up to date, and asked.
    Update(Expect),
    /// The layer in the cache is changed.
    Damage(Damage),
    /// The server is told something: what follows `/_set/<session>/`.
    Server(String),
    /// Waits until the server was asked for its index: what stale-while-revalidate does when
    /// it has answered.
    Settle,
    /// The clock of the cache is set forward or back by so many milliseconds.
    Clock(i64),
}

/// A load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// `online`, `stale-while-revalidate` or `offline`.
    pub policy: String,
    /// So many at the same time.
    pub together: usize,
    /// What must come out of each.
    #[serde(flatten)]
    pub expect: Expect,
}

/// How something in the cache is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// One bit of one byte in the middle of the weights.
    Flip,
    /// Its second half is gone.
    Truncate,
    /// A byte is appended.
    Longer,
    /// Nothing is left.
    Empty,
}

impl Damage {
    /// Damages content.
    pub fn apply(self, bytes: &mut Vec<u8>) {
        let middle = bytes.len() / 2;
        match self {
            Self::Flip => bytes[middle] ^= 0x40,
            Self::Truncate => bytes.truncate(middle),
            Self::Longer => bytes.push(0),
            Self::Empty => bytes.clear(),
        }
    }
}

/// What must come out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Expect {
    /// One of these: `1` for what version 1 answers, or the code of an error.
    pub outcomes: Vec<String>,
    /// The code with which an update is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// From how many to how many requests for the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<[usize; 2]>,
    /// From how many to how many requests for the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<[usize; 2]>,
    /// From how many to how many requests of any kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<[usize; 2]>,
    /// A request for the layer was answered by a registry with this fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Fault>,
    /// Every request for the layer after the first (or also that) began where the one before
    /// had ended: after the first byte, and not after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// The index was asked for with a validator, and the answer was 304.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unchanged: bool,
    /// Events that must be seen where events are seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// How a download went on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Resumed {
    /// Whether the first request has to begin in the middle.
    pub first: bool,
    /// The largest offset.
    pub until: u64,
}

/// A request that the server saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The fault under which it came.
    pub fault: Fault,
    /// `index`, `layer` (the one that faults have to do with), `blob`, `other`.
    pub kind: String,
    /// The path below the registry.
    pub path: String,
    /// The field `range`.
    pub range: Option<String>,
    /// The field `if-none-match`.
    pub if_none_match: Option<String>,
    /// The field `accept-encoding`.
    pub accept_encoding: Option<String>,
    /// How it was answered; 0 for not at all.
    pub status: u16,
}

/// The file of results of one place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheResults {
    /// Which place: `native-folder`, `page-opfs`.
    pub place: String,
    /// What the place cannot do: cases that need it are left out.
    pub lacks: Vec<Need>,
    /// One for each case that was run.
    pub results: Vec<CacheResult>,
}

/// What came out of one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheResult {
    /// The case.
    pub id: String,
    /// One for each step.
    pub steps: Vec<StepResult>,
}

/// What came out of one step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StepResult {
    /// The answers: one, or as many as were asked for together.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// The code with which an update was refused.
    #[serde(default)]
    pub refused: Option<String>,
    /// What the server saw meanwhile.
    #[serde(default)]
    pub asked: Vec<Asked>,
    /// Names of events; `None` where nobody sees them.
    #[serde(default)]
    pub events: Option<Vec<String>>,
    /// Why the step could not be done at all.
    #[serde(default)]
    pub failed: Option<String>,
}

impl CacheCase {
    /// Whether a place that lacks this can run it.
    pub fn runs_without(&self, lacks: &[Need]) -> bool {
        self.needs.iter().all(|need| !lacks.contains(need))
    }

    /// The addresses of its registry and mirrors, for a session.
    pub fn registries(&self, list: &CacheCases, session: &str) -> Vec<String> {
        let first = match self.nobody {
            true => &list.nobody,
            false => &list.server,
        };
        let first = format!("{first}/{}/{session}", self.fault);
        let mirrors = self.mirrors.iter().enumerate();
        let mirrors = mirrors
            .map(|(number, fault)| format!("{}/{fault}/{session}{BESIDE}{number}", list.server));
        [first].into_iter().chain(mirrors).collect()
    }

    /// The name of the model.
    pub fn model(&self) -> &str {
        self.reference.split([':', '@']).next().unwrap_or_default()
    }
}
