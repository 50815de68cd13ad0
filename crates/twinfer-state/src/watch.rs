//! Following what others change.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::sleep;
use crate::{Changes, State};

/// How often a place is asked, unless told otherwise: others are followed within a second, with
/// room for a slow answer.
const PERIOD: Duration = Duration::from_millis(250);

/// Follows the documents whose keys begin with a prefix, by whomever they are changed.
///
/// ```
/// # use std::sync::Arc;
/// # use twinfer_state::{ANY, MemoryState, State, Watch};
/// # async fn follow() -> twinfer_state::Result<()> {
/// let state: Arc<dyn State> = Arc::new(MemoryState::new());
/// let mut watch = Watch::new(state.clone(), "deployments/");
/// // The first time: read everything that is there.
/// assert_eq!(watch.next().await.keys, None);
/// state.put("deployments/face", b"{}", ANY).await?;
/// assert_eq!(watch.next().await.keys, Some(vec!["deployments/face".to_owned()]));
/// # Ok(()) }
/// # futures_util::future::FutureExt::now_or_never(follow());
/// ```
pub struct Watch {
    state: Arc<dyn State>,
    prefix: String,
    period: Duration,
    since: Option<u64>,
    lost: bool,
    begun: bool,
}

impl Watch {
    /// Of these keys.
    pub fn new(state: Arc<dyn State>, prefix: impl Into<String>) -> Self {
        Self {
            state,
            prefix: prefix.into(),
            period: PERIOD,
            since: None,
            lost: false,
            begun: false,
        }
    }

    /// Asks this often.
    pub fn every(self, period: Duration) -> Self {
        Self { period, ..self }
    }

    /// Waits until something changed, and says what. The first time it does not wait, and any key
    /// may have changed: whoever reads all documents then, and those that are named from then on,
    /// misses nothing. That is so where the place is gone at the start, too: there is what was known
    /// of it. After its return any key may have changed.
    ///
    /// Nothing is missed when it is dropped before it ends.
    pub async fn next(&mut self) -> Changes {
        loop {
            match self.state.changed(&self.prefix, self.since).await {
                Ok(mut changes) => {
                    self.since = Some(changes.revision);
                    if std::mem::take(&mut self.lost) {
                        changes.keys = None;
                    }
                    if changes.keys.as_ref().is_none_or(|keys| !keys.is_empty()) {
                        self.begun = true;
                        return changes;
                    }
                }
                // Who asks for a document is told; here it is enough to go on asking.
                Err(_) => {
                    self.lost = true;
                    if !std::mem::replace(&mut self.begun, true) {
                        return Changes {
                            revision: 0,
                            keys: None,
                        };
                    }
                }
            }
            sleep(self.period).await;
        }
    }
}
