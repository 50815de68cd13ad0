//! The suite on every place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use twinfer_state::{
    Clock, MemoryState, RedisOptions, RedisState, Resilient, ResilientOptions, SqliteState, State,
};

use crate::conformance::Open;
use crate::redis_server::RedisServer;

type Case = for<'a> fn(Open<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

fn run(case: Case, open: Open<'_>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(case(open));
}

mod memory {
    use super::*;

    fn place(_: &str, case: Case) {
        let state: Arc<dyn State> = Arc::new(MemoryState::new());
        run(case, &|| state.clone());
    }

    crate::conformance::conformance!(place);
}

mod sqlite {
    use super::*;

    fn place(_: &str, case: Case) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("below/state.sqlite");
        run(case, &|| Arc::new(SqliteState::open(&file).unwrap()));
    }

    crate::conformance::conformance!(place);
}

fn server(case: &str) -> Option<RedisServer> {
    // The disk of tests is not what is tested here.
    RedisServer::with(case, &["--appendfsync", "everysec"])
}

fn redis(server: &RedisServer) -> RedisState {
    let options = RedisOptions {
        clock: Clock::Caller,
        // A busy machine is not a lost one.
        timeout: Duration::from_secs(30),
        ..RedisOptions::default()
    };
    RedisState::new(&server.address(), options).unwrap()
}

mod redis_server {
    use super::*;

    fn place(name: &str, case: Case) {
        if let Some(server) = server(name) {
            run(case, &|| Arc::new(redis(&server)));
        }
    }

    crate::conformance::conformance!(place);
}

mod resilient_redis {
    use super::*;

    fn place(name: &str, case: Case) {
        if let Some(server) = server(name) {
            let options = ResilientOptions::default;
            run(case, &|| {
                Arc::new(Resilient::start(redis(&server), options()).unwrap())
            });
        }
    }

    crate::conformance::conformance!(place);
}
