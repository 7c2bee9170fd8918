//! The same with a real PgBouncer in transaction mode, with two server connections.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sqlx::PgPool;
use tokio::net::{TcpListener, TcpStream};

use super::{a_whole_life, named_statements};
use crate::postgres_wire::Server;
use crate::process::world;
use crate::world::until;

/// A PgBouncer of its own, which is killed when the test ends.
struct PgBouncer {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

/// Its log is shown only if the test fails.
const LOG: &str = "pgbouncer.log";

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

impl PgBouncer {
    /// `settings`: further lines of its settings.
    async fn start(url: &str, settings: &str) -> Self {
        let program = std::env::var("PGBOUNCER").expect("run this test with tests/pooler.test");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = url::Url::parse(url).unwrap();
        let (server, user) = (Server::of(&url), url.username().to_owned());
        let place = server.place();
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = host={place} port=5432 user={user}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n\
             max_db_connections = 2\n{settings}\n"
        );
        std::fs::write(&file, lines).unwrap();
        let mut command = Command::new(program);
        let log = std::fs::File::create(folder.path().join(LOG)).unwrap();
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if rustix::process::geteuid().is_root() {
            // PgBouncer refuses to run as root. Only its owner may enter the socket's folder.
            let owner = std::fs::metadata(Path::new(place)).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        let child = command.spawn().unwrap();
        until("PgBouncer listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok())
            .await;
        Self { child, port, folder }
    }
}

#[sqlx::test(migrations = false)]
#[ignore = "needs PgBouncer: tests/pooler.test runs it"]
async fn everything_works_behind_pgbouncer(pool: PgPool) {
    for (settings, prepared) in [
        ("", None),
        ("ignore_startup_parameters = extra_float_digits,options", None),
        ("", Some("true")),
        ("ignore_startup_parameters = extra_float_digits", Some("false")),
    ] {
        let mut world = world(pool.clone(), 20).await;
        let direct = world.env["DATABASE_URL"].clone();
        let schema = "drop schema public cascade; create schema public";
        sqlx::raw_sql(schema).execute(&world.pool).await.unwrap();
        let pgbouncer = PgBouncer::start(&direct, settings).await;
        let mut url: url::Url = direct.parse().unwrap();
        url.set_query(None);
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(pgbouncer.port)).unwrap();
        world.set("DATABASE_URL", url);
        if let Some(prepared) = prepared {
            world.set("DATABASE__PREPARED_STATEMENTS", prepared);
        }

        a_whole_life(&mut world).await;

        assert_eq!(named_statements(&world).await, BTreeSet::new(), "{settings} {prepared:?}");
    }
}
