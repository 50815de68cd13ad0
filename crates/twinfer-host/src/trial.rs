//! One instance that is asked one request after the other, without a server: for whoever makes
//! a component for certain requests, and looks at what they did in it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::HostConfig;
use crate::engine;
use crate::error::HostError;
use crate::guest::{Factory, Guest};
use crate::handle::Refused;
use crate::live::Live;
use crate::log::Log;
use crate::outbound::Network;
use crate::reply::{Failure, ReplyCode};

/// One instance of a component, and the thread's runtime that it runs on.
pub struct Trial {
    guest: Guest,
    limit: Duration,
    runtime: tokio::runtime::Runtime,
}

impl Trial {
    /// Compiles the component of a configuration and starts an instance. It must not be called
    /// inside an async runtime. What the configuration says of servers does not matter.
    ///
    /// The instance's random numbers and its clock come from the seed: the same requests do the
    /// same in it each time.
    ///
    /// # Errors
    /// As [`crate::Host::start`].
    pub fn start(config: &HostConfig, seed: u64) -> Result<Self, HostError> {
        config.check()?;
        let log = Log::new(config.log.clone(), config.log_level);
        let network = Network::new(config)?;
        let program = engine::prepare(config, &log)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| HostError::internal(format!("no async runtime: {e}")))?;
        let limit = config.limits.request_timeout;
        let factory =
            Factory::new(Live::new(config.clone()), program.linked, network, log).repeatable(seed);
        let guest = runtime
            .block_on(factory.instantiate())
            .map_err(|e| HostError::internal(Refused::from(e).message))?;
        Ok(Self {
            guest,
            limit,
            runtime,
        })
    }

    /// Asks it. The request needs an absolute address (`http://localhost/v2`).
    ///
    /// # Errors
    /// Why there is no answer: the instance trapped, took too long, or ran out of memory. It must
    /// not be asked again then.
    pub fn ask(&mut self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Refused> {
        let (sender, mut receiver) = oneshot::channel();
        let reply = &mut Some(sender);
        // Made inside of the runtime, whose clock it needs.
        let (limit, guest) = (self.limit, &mut self.guest);
        let call = async { timeout(limit, guest.call(request, reply)).await };
        let answered = match self.runtime.block_on(call) {
            Ok(Ok(())) => receiver.try_recv().unwrap_or_else(|_| {
                let what = "the model server did not answer";
                Err(Failure::new(ReplyCode::Internal, what))
            }),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::new(ReplyCode::Timeout, "no answer in time")),
        };
        answered.map_err(Refused::from)
    }

    /// Calls a function of an exported instance that takes nothing and gives a number.
    ///
    /// # Errors
    /// There is no such function, or it traps.
    pub fn number(&mut self, instance: &str, function: &str) -> Result<i32, HostError> {
        let number = self.guest.number(instance, function);
        self.runtime
            .block_on(number)
            .map_err(|e| HostError::component(format!("{instance}#{function}: {e:#}")))
    }
}
