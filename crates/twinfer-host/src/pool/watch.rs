//! Who waits for an instance, and for how long: told to whoever observes the request.

use crate::observe::{Queue, Waiting};

/// The request waits as long as what this gives lives. Nothing for one that nobody observes.
pub(super) fn waiting<B>(request: &http::Request<B>) -> Option<Waiting> {
    Some(request.extensions().get::<Queue>()?.begin())
}
