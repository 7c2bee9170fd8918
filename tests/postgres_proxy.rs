//! A proxy before Postgres that knows the framing of its messages. It strikes before or after the
//! n-th COMMIT: it runs an action, such as a kill, and cuts every connection. `After` is the commit
//! that Postgres has carried out and whose answer nobody hears.
#![allow(dead_code)] // Each test or example uses only a part.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use crate::postgres_wire::{Server, body_of, message, read, through};

/// On which side of a COMMIT the proxy strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Postgres never sees the COMMIT.
    Before,
    /// Postgres carries it out, and its answer is lost.
    After,
}

/// A proxy before one database. It serves until the runtime ends.
#[derive(Clone)]
pub(crate) struct PostgresProxy {
    /// The address of the database through the proxy.
    pub url: Url,
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    commits: AtomicUsize,
    plan: Mutex<Option<Plan>>,
    cuts: watch::Sender<usize>,
}

struct Plan {
    /// How many COMMITs still pass.
    pass: usize,
    moment: Moment,
    action: Box<dyn FnOnce() + Send>,
}

impl PostgresProxy {
    /// Starts a proxy on a free port of loopback. `database`: the address to pass connections on
    /// to.
    pub(crate) async fn start(database: &Url) -> io::Result<PostgresProxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared {
            server: Server::of(database),
            commits: AtomicUsize::new(0),
            plan: Mutex::new(None),
            cuts: watch::Sender::new(0),
        });
        let url = through(database, listener.local_addr()?.port());
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(PostgresProxy { url, shared })
    }

    /// Strikes once, at the `nth` COMMIT from now on; the first is 1. `action` runs just before all
    /// connections are cut.
    pub(crate) fn strike(
        &self,
        nth: usize,
        moment: Moment,
        action: impl FnOnce() + Send + 'static,
    ) {
        let plan = Plan { pass: nth.saturating_sub(1), moment, action: Box::new(action) };
        *self.shared.plan() = Some(plan);
    }

    /// Takes back a strike that has not come.
    pub(crate) fn disarm(&self) {
        *self.shared.plan() = None;
    }

    /// Cuts every connection now.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many COMMITs have arrived so far.
    pub(crate) fn commits(&self) -> usize {
        self.shared.commits.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        // A connection that ends, ends its task.
        tokio::spawn(Arc::clone(&shared).serve(client));
    }
}

impl Shared {
    fn plan(&self) -> std::sync::MutexGuard<'_, Option<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let _ = client.set_nodelay(true);
        let mut cuts = self.cuts.subscribe();
        let (from_server, to_server) = tokio::io::split(self.server.connect().await?);
        let (from_client, to_client) = client.into_split();
        // The plan whose COMMIT is on its way to Postgres on this connection.
        let struck = Mutex::new(None);
        let holds_back = AtomicBool::new(false);
        // The first to end, ends the connection on both sides.
        tokio::select! {
            ended = self.pass_on(from_client, to_server, &struck, &holds_back) => ended,
            ended = self.answer(from_server, to_client, &struck, &holds_back) => ended,
            _ = cuts.changed() => Ok(()),
        }
    }

    /// From the program to Postgres.
    async fn pass_on(
        &self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        struck: &Mutex<Option<Plan>>,
        holds_back: &AtomicBool,
    ) -> io::Result<()> {
        let mut from = BufReader::new(from);
        let start = body_of(&mut from).await?;
        let length = start.len() as u32 + 4;
        to.write_all(&[length.to_be_bytes().as_slice(), &start].concat()).await?;
        loop {
            let (kind, body) = read(&mut from).await?;
            if is_commit(kind, &body)
                && let Some(plan) = self.struck()
            {
                if plan.moment == Moment::Before {
                    self.carry_out(plan);
                    return Ok(());
                }
                *struck.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
                holds_back.store(true, Ordering::SeqCst);
            }
            to.write_all(&message(kind, &body)).await?;
        }
    }

    /// From Postgres to the program.
    async fn answer(
        &self,
        from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        struck: &Mutex<Option<Plan>>,
        holds_back: &AtomicBool,
    ) -> io::Result<()> {
        let mut from = BufReader::new(from);
        loop {
            let (kind, body) = read(&mut from).await?;
            if !holds_back.load(Ordering::SeqCst) {
                to.write_all(&message(kind, &body)).await?;
                continue;
            }
            // Everything before the COMMIT was answered, so this answers the COMMIT. Postgres is
            // ready for the next statement: it has carried it out.
            if kind == b'Z' {
                let plan = struck.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(plan) = plan {
                    self.carry_out(plan);
                }
                return Ok(());
            }
        }
    }

    /// Counts a COMMIT. Returns the plan if it strikes this one.
    fn struck(&self) -> Option<Plan> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let mut waiting = self.plan();
        match waiting.as_mut() {
            Some(plan) if plan.pass > 0 => {
                plan.pass -= 1;
                None
            }
            _ => waiting.take(),
        }
    }

    fn carry_out(&self, plan: Plan) {
        (plan.action)();
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

/// Whether a message of the program is a COMMIT, which is always sent as a simple query.
fn is_commit(kind: u8, body: &[u8]) -> bool {
    kind == b'Q' && body.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"commit"))
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Executor, PgConnection, PgPool};

    use super::*;
    use crate::world::World;

    async fn rows(pool: &PgPool) -> i64 {
        sqlx::query_scalar("select count(*) from seen").fetch_one(pool).await.unwrap()
    }

    #[sqlx::test]
    async fn a_commit_that_is_cut_before_is_lost_and_one_that_is_cut_after_is_kept(pool: PgPool) {
        let url = World::new(pool.clone()).await.env["DATABASE_URL"].parse().unwrap();
        let proxy = PostgresProxy::start(&url).await.unwrap();
        pool.execute("create table seen ()").await.unwrap();
        for (moment, nth, kept) in
            [(Moment::Before, 2, 1), (Moment::After, 2, 3), (Moment::After, 1, 4)]
        {
            let struck = Arc::new(AtomicBool::new(false));
            let note = Arc::clone(&struck);
            proxy.strike(nth, moment, move || note.store(true, Ordering::SeqCst));
            let mut connection = PgConnection::connect(proxy.url.as_str()).await.unwrap();
            let mut other = PgConnection::connect(proxy.url.as_str()).await.unwrap();
            for at in 1..=nth {
                assert!(!struck.load(Ordering::SeqCst));
                let mut tx = connection.begin().await.unwrap();
                tx.execute("insert into seen default values").await.unwrap();
                assert_eq!(tx.commit().await.is_ok(), at < nth, "{moment:?}");
            }
            assert!(struck.load(Ordering::SeqCst));
            assert!(other.execute("select 1").await.is_err(), "every connection is cut");
            assert_eq!(rows(&pool).await, kept, "{moment:?}");
        }
        assert_eq!(proxy.commits(), 5);

        // What was taken back does not strike.
        proxy.strike(1, Moment::Before, || ());
        proxy.disarm();
        let mut connection = PgConnection::connect(proxy.url.as_str()).await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        tx.execute("insert into seen default values").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows(&pool).await, 5);
    }
}
