//! What the cache needs of its surroundings: it has no clock, no timer and no randomness.

/// Clock, timer and randomness.
#[expect(
    async_fn_in_trait,
    reason = "neither pages nor components have threads to send to"
)]
pub trait Env {
    /// Milliseconds since 1970.
    fn now(&self) -> u64;

    /// Waits for this many milliseconds.
    async fn sleep(&self, milliseconds: u64);

    /// A number from 0 to 1, for spreading retries: not for secrets.
    fn random(&self) -> f64;
}

impl<E: Env + ?Sized> Env for std::sync::Arc<E> {
    fn now(&self) -> u64 {
        (**self).now()
    }

    async fn sleep(&self, milliseconds: u64) {
        (**self).sleep(milliseconds).await;
    }

    fn random(&self) -> f64 {
        (**self).random()
    }
}
