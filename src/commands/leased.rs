//! Runs the work of a command under the lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::Parts;
use crate::mapping::Fitted;
use crate::store::{HeldLease, Lease};
use crate::sync::Context;
use crate::tasks::{lease, pauses};

/// The lease keeper gets this long to give the lease back. Then the lease ends by itself.
const RETURN_TIME: Duration = Duration::from_secs(2);

/// A command that may do the work itself.
pub(super) struct Leased<'a> {
    pub parts: &'a Parts,
    pub ttl: Duration,
    pub cancel: &'a CancellationToken,
}

impl Leased<'_> {
    /// Keeps the lease while `work` runs, and gives it back. Returns the context of the work, too.
    pub(super) async fn run<T>(
        &self,
        fitted: &Fitted,
        held: Lease,
        work: impl AsyncFnOnce(&Arc<Context>) -> T,
    ) -> anyhow::Result<(Arc<Context>, T)> {
        let (sender, receiver) = watch::channel(Some(held));
        let keeper_cancel = CancellationToken::new();
        let store = self.parts.store.clone();
        let keeper = tokio::spawn(lease::keep(store, self.ttl, sender, keeper_cancel.clone()));
        let lease = HeldLease::new(receiver);
        let context =
            self.parts.context(fitted, lease, Arc::default(), self.cancel.clone()).await?;
        let following = tokio::spawn(pauses::follow(Arc::clone(&context)));
        let done = work(&context).await;
        following.abort();
        keeper_cancel.cancel();
        // A database that does not answer must not hold the command.
        let _ = tokio::time::timeout(RETURN_TIME, keeper).await;
        Ok((context, done))
    }
}
