//! `health`: says whether the daemon on this machine is alive. For containers, which have no other
//! client.

use super::{Ended, SOME_FAILED, WELL, ask, exit};
use crate::config::Settings;

pub async fn run(settings: &Settings) -> Ended {
    match ask::daemon(settings, "/health").await {
        Ok((status, _)) if status.is_success() => {
            outln!("healthy");
            exit(WELL)
        }
        Ok((status, document)) => {
            out!("unhealthy: {status} {document}\n");
            exit(SOME_FAILED)
        }
        Err(error) => {
            outln!("unhealthy: {error:#}");
            exit(SOME_FAILED)
        }
    }
}
