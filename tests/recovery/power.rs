//! The power fails: the daemon and Postgres die in the same moment.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;

use super::{everybody_changes, finish, number, small_steps};
use crate::process::{Process, caught_up};
use crate::sim::{Fault, What};
use crate::world::World;

/// A durable Postgres of this test's own.
struct Cluster {
    script: Child,
    folder: PathBuf,
    url: String,
}

impl Cluster {
    fn start(folder: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/with-postgres");
        let mut script = Command::new(script)
            .arg("--keep")
            .arg(folder)
            .args(["sh", "-c", r#"echo "$DATABASE_URL"; exec cat"#])
            .env_remove("DATABASE_URL")
            .env_remove("DATABASE_URL_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(script.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("postgres://"), "no cluster: {url:?}");
        Self { script, folder: folder.to_owned(), url: url.trim().to_owned() }
    }

    async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect(&self.url).await.unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

fn children_of(parent: i32) -> Vec<i32> {
    let stat = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parent_of = |stat: String| -> Option<i32> {
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| stat(*pid).and_then(parent_of) == Some(parent)).collect()
}

/// A folder that the account of Postgres may enter.
fn open_folder() -> TempDir {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Ends every process of Postgres by SIGKILL: nothing is flushed.
fn kill_postgres(cluster: &Path) {
    let file = std::fs::read_to_string(cluster.join("pg/data/postmaster.pid")).unwrap();
    let postmaster: i32 = file.lines().next().unwrap().parse().unwrap();
    let kill = |pid: i32| kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    // Later they have another parent.
    let children = children_of(postmaster);
    kill(postmaster).unwrap();
    for child in children {
        let _ = kill(child);
    }
}

/// The power fails while a call is answered, and is back.
async fn power_fails(world: &World, cluster: Cluster, kind: &'static str, nth: usize) -> Cluster {
    let daemon = Process::daemon(world);
    let (target, folder) = (daemon.target(), cluster.folder.clone());
    let fails = What::apply_then_run(move |_| {
        kill_postgres(&folder);
        target.kill();
    });
    world.intercom.fault(Fault::on(kind).nth(nth).what(fails));
    daemon.died().await;
    let folder = cluster.folder.clone();
    drop(cluster);
    Cluster::start(&folder)
}

// F7
#[sqlx::test(migrations = false)]
async fn a_power_loss_costs_no_contact_and_no_change(pool: PgPool) {
    let folder = open_folder();
    let mut cluster = Cluster::start(folder.path());
    let mut world = small_steps(pool).await;
    world.set("DATABASE_URL", &cluster.url);

    for (nth, edit) in [(17, None), (25, Some("Canarytwo")), (31, Some("Canarythree"))] {
        if let Some(family_name) = edit {
            world.pool = cluster.pool().await;
            let daemon = Process::daemon(&world);
            caught_up(&world).await;
            daemon.stop().await;
            everybody_changes(&world, family_name);
            world.pool.close().await;
        }
        let kind = if edit.is_some() { "update" } else { "create" };
        cluster = power_fails(&world, cluster, kind, nth).await;
    }

    world.pool = cluster.pool().await;
    finish(&world).await;
    let behind = "select count(*) from sync_cursor where feed = 'changed' and position > now()";
    assert_eq!(number(&world, behind).await, 0);
    world.pool.close().await;
}
