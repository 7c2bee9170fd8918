//! The keeper of the lease: takes it when it is free, prolongs it in time, and announces when it is
//! gone.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::{Lease, LeaseHolder, Store, StoreError};
use crate::sync::LOG_AGAIN_AFTER;

/// The pause after a failed attempt: until the next one, writes may have to stop.
const RETRY: Duration = Duration::from_secs(1);

/// Who this process is, so that its successor on this machine sees that it has died:
/// boot, process-id namespace, process id and start time, then the name of the host for people.
pub fn identity() -> &'static str {
    static IDENTITY: OnceLock<String> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let pid = std::process::id();
        let host =
            std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "host".into());
        match (machine(), start_time(pid)) {
            (Some(machine), Some(started)) => format!("{machine}/{pid}/{started}/{}", host.trim()),
            // Elsewhere than on Linux a successor waits for the lease to end.
            _ => format!("-/{pid}/{}/{}", uuid::Uuid::new_v4(), host.trim()),
        }
    })
}

/// This boot of this machine, and the namespace in which process ids mean something.
fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}:{}", boot.trim(), namespace.display()))
}

/// The 22nd field of the process's stat line; the second may hold blanks and brackets, so counting
/// starts behind it.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether the holder was a process of this machine that is certainly gone.
fn is_dead(holder: &LeaseHolder) -> bool {
    let mut parts = holder.holder.splitn(4, '/');
    let (Some(machine_then), Some(pid), Some(started)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Some(pid) = pid.parse::<i32>().ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    if machine().as_deref() != Some(machine_then) {
        return false;
    }
    match rustix::process::test_kill_process(pid) {
        Err(rustix::io::Errno::SRCH) => true,
        // The process id may belong to another process by now. A start time that cannot be read
        // proves nothing.
        _ => u32::try_from(pid.as_raw_nonzero().get())
            .ok()
            .and_then(start_time)
            .is_some_and(|now| now != started),
    }
}

/// A holder in words for people: its process and machine.
pub fn in_words(holder: &str) -> String {
    let mut parts = holder.splitn(4, '/');
    match (parts.nth(1), parts.nth(1)) {
        (Some(pid), Some(host)) => format!("process {pid} on {host}"),
        _ => holder.to_owned(),
    }
}

/// Whether the lease is free: it has no holder, its time is over, or its holder has died.
pub async fn is_free(store: &Store) -> Result<bool, StoreError> {
    let holder = store.lease_holder().await?;
    Ok(holder.is_none_or(|holder| !holder.live || is_dead(&holder)))
}

/// Takes the lease if that is possible now; else says who holds it.
pub async fn take(store: &Store, ttl: Duration) -> Result<Result<Lease, LeaseHolder>, StoreError> {
    let holder = store.lease_holder().await?;
    let dead = holder.as_ref().filter(|holder| holder.live && is_dead(holder));
    if let Some(lease) = store.take_lease(identity(), ttl, dead).await? {
        return Ok(Ok(lease));
    }
    Ok(Err(store.lease_holder().await?.unwrap_or_else(nobody)))
}

/// Keeps the lease until `cancel`, then gives it back. The receiver of `lease` sees `None` while
/// this process may not write.
pub async fn keep(
    store: Store,
    ttl: Duration,
    lease: watch::Sender<Option<Lease>>,
    cancel: CancellationToken,
) {
    let mut logged = Logged::default();
    loop {
        let held = *lease.borrow();
        let pause = match next(&store, ttl, held.as_ref()).await {
            Ok(next) => {
                logged.change(held.as_ref(), &next);
                let pause = if next.is_ok() { ttl / 2 } else { RETRY.min(ttl / 3) };
                lease.send_replace(next.ok());
                pause
            }
            // A lease that is held stays valid until its time is over. Then writes stop.
            Err(error) => {
                logged.trouble(&error);
                RETRY.min(ttl / 3)
            }
        };
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    let held = *lease.borrow();
    if let Some(held) = held
        && let Err(error) = store.release_lease(&held).await
    {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "The lease was not given back; it ends by itself."
        );
    }
    lease.send_replace(None);
}

/// Prolongs the lease that is held, or takes the one that is free. Else says who has it.
async fn next(
    store: &Store,
    ttl: Duration,
    held: Option<&Lease>,
) -> Result<Result<Lease, LeaseHolder>, StoreError> {
    match held {
        None => take(store, ttl).await,
        Some(held) => Ok(store.renew_lease(held, ttl).await?.ok_or_else(nobody)),
    }
}

/// The holder whose name is not known.
fn nobody() -> LeaseHolder {
    LeaseHolder { holder: "another process".into(), epoch: 0, live: true }
}

/// What was logged of the lease, so that nothing is logged at every look.
#[derive(Default)]
struct Logged {
    standby: bool,
    trouble: Option<Instant>,
}

impl Logged {
    fn change(&mut self, held: Option<&Lease>, next: &Result<Lease, LeaseHolder>) {
        self.trouble = None;
        match (held, next) {
            (None, Ok(lease)) => {
                self.standby = false;
                tracing::info!(
                    lease.epoch = lease.epoch,
                    "This process holds the lease and runs passes."
                );
            }
            (Some(_), Err(_)) => tracing::warn!(
                "Another process has taken the lease; this one stops its passes and stands by."
            ),
            (None, Err(holder)) if !self.standby => {
                self.standby = true;
                tracing::info!(
                    holder = in_words(&holder.holder),
                    "Another process holds the lease; this one stands by."
                );
            }
            _ => {}
        }
    }

    fn trouble(&mut self, error: &StoreError) {
        if self.trouble.is_none_or(|at| at.elapsed() > LOG_AGAIN_AFTER) {
            self.trouble = Some(Instant::now());
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "The lease could not be looked after; trying again."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(holder: String) -> LeaseHolder {
        LeaseHolder { holder, epoch: 1, live: true }
    }

    #[test]
    fn a_holder_is_told_as_process_and_machine() {
        assert_eq!(in_words("boot:pid:[1]/42/1000/web-1"), "process 42 on web-1");
        assert_eq!(in_words("somebody"), "somebody");
    }

    #[test]
    fn only_a_process_of_this_machine_that_is_gone_is_dead() {
        assert!(!is_dead(&holder(identity().to_owned())), "this process lives");
        let mut parts: Vec<String> = identity().splitn(4, '/').map(str::to_owned).collect();
        parts[2] = "1".into();
        assert!(is_dead(&holder(parts.join("/"))), "its process id belongs to another process now");
        parts[0] = "elsewhere".into();
        assert!(!is_dead(&holder(parts.join("/"))), "nothing is known of another machine");
        assert!(!is_dead(&holder("-/1/x/host".into())));
        assert!(!is_dead(&holder("rubbish".into())));
    }
}
