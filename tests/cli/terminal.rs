//! The look in a real terminal of 80 and of 120 columns, which is tmux: every line fits, lines wrap
//! between words alone, and the bar of `sync` stays one line. tests/terminal.test runs this.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use sqlx::PgPool;

use super::look::busy;
use crate::process::PROGRAM;
use crate::sim::Seed;
use crate::world::{World, until};

const COMMANDS: [&str; 18] = [
    "status",
    "held",
    "decide list",
    "runs",
    "plan --all",
    "plan list",
    "log",
    "erase --list",
    "explain 1",
    "explain 3",
    "open 3",
    "check",
    "config --changed",
    "sync 3 999999",
    "sync --all --dry-run --verbose",
    "sync --sweep --dry-run",
    "hooks list",
    "--help",
];
const END: &str = "this is the end of it";

/// A terminal with the environment of a world, on a server of its own.
struct Tmux {
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Tmux {
    /// Runs a script in a terminal. `$PROGRAM` is the program.
    fn start(world: &World, columns: u16, rows: u16, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let file = folder.path().join("script");
        std::fs::write(&file, format!("{script}\necho {END}\nsleep 600\n")).unwrap();
        let terminal = Self { socket, _folder: folder };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut tmux = terminal.tmux();
        tmux.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).envs(&world.env);
        tmux.envs([("PROGRAM", PROGRAM), ("LANG", "C.UTF-8"), ("TERM", "xterm-256color")]);
        tmux.args(["new-session", "-d", "-x", &columns, "-y", &rows, "sh"]).arg(&file);
        assert!(tmux.status().unwrap().success(), "tmux does not start");
        terminal
    }

    /// The server reads no settings of the person who runs this.
    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-S"]).arg(&self.socket).stdin(Stdio::null());
        tmux
    }

    /// What stands on the screen. `more`: how it is captured.
    fn screen(&self, more: &[&str]) -> String {
        let captured = self.tmux().args(["capture-pane", "-p"]).args(more).output().unwrap();
        assert!(captured.status.success(), "{captured:?}");
        String::from_utf8(captured.stdout).unwrap().trim_end().to_owned()
    }

    async fn until_it_shows(&self, what: &str) -> String {
        until(what, async || self.screen(&[]).contains(what)).await;
        self.screen(&[])
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").status();
    }
}

/// Commands one after the other, each announced and followed by its exit status.
fn all(commands: &[&str]) -> String {
    let one = |words: &&str| format!("echo '$ {words}'\n\"$PROGRAM\" {words}\necho \"[$?]\"");
    commands.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[sqlx::test]
#[ignore = "needs tmux: tests/terminal.test runs this"]
async fn every_line_fits_a_terminal_of_80_and_of_120_columns(pool: PgPool) {
    let mut world = busy(pool).await;
    world.env.remove("RUST_LOG");

    for columns in [80, 120] {
        let terminal = Tmux::start(&world, columns, 1000, &all(&COMMANDS));
        let screen = terminal.until_it_shows(END).await;
        // Rows that the terminal itself has broken come as one line here.
        let lines = terminal.screen(&["-J"]);
        let coloured = terminal.screen(&["-e"]);

        for line in lines.lines().map(str::trim_end) {
            assert!(line.chars().count() <= columns.into(), "{columns}: {line:?} in\n{screen}");
        }
        for words in ["working   no", "several_users: ", "STARTED (UTC)", "https://", "✓ keap"] {
            assert!(screen.contains(words), "{words:?} is missing in\n{screen}");
        }
        assert!(!screen.contains(" INFO "), "log lines stand between the output:\n{screen}");
        assert!(coloured.contains("\u{1b}[32m✓"), "a terminal gets colours:\n{coloured}");
        // A long line goes on below its own text.
        let next = screen.lines().skip_while(|line| !line.starts_with("next      ")).nth(1);
        assert!(
            next.is_some_and(|line| columns > 80 || line.starts_with("          ")),
            "{screen}"
        );
    }
}

#[sqlx::test]
#[ignore = "needs tmux: tests/terminal.test runs this"]
async fn the_bar_of_sync_is_one_line_with_total_rate_and_end_time(pool: PgPool) {
    let mut world = super::quiet_world(pool, 60).await;
    world.env.remove("RUST_LOG");
    // A first sync makes the total known, and then everybody changes.
    let script = "\"$PROGRAM\" sync --all; \"$PROGRAM\" sync --all";
    world.set("KEAP__PAGE_SIZE", 5).set("SYNC__CONCURRENCY", 1);
    world.intercom.add_user(Seed::with_email("stranger@example.org"));

    for columns in [80, 120] {
        world.intercom.knobs(|knobs| knobs.latency_ms = 60);
        for id in 1..=60 {
            world.keap.edit(id, |person| person.given_name = Some(format!("Canary {columns}")));
        }
        let terminal = Tmux::start(&world, columns, 40, script);
        terminal.until_it_shows("█").await;
        let screen = terminal.screen(&["-J"]);

        let bars: Vec<&str> = screen.lines().filter(|line| line.contains(" contacts, ")).collect();
        let [bar] = bars.as_slice() else { panic!("{} bars stand in\n{screen}", bars.len()) };
        assert!(bar.chars().count() <= columns.into(), "{columns}: {bar:?}");
        for words in ["of about 60 contacts", "/s", " left"] {
            assert!(bar.contains(words), "{words:?} is missing in {bar:?}");
        }
        world.intercom.knobs(|knobs| knobs.latency_ms = 0);
        let screen = terminal.until_it_shows(END).await;
        assert!(!screen.contains('█'), "the bar is left behind:\n{screen}");
    }
}

#[sqlx::test]
#[ignore = "needs tmux: tests/terminal.test runs this"]
async fn no_color_and_a_pipe_take_the_colours_away(pool: PgPool) {
    let world = busy(pool).await;
    let script = "NO_COLOR=1 \"$PROGRAM\" status; \"$PROGRAM\" held | cat";

    let terminal = Tmux::start(&world, 120, 100, script);
    terminal.until_it_shows(END).await;

    let coloured = terminal.screen(&["-e"]);
    assert!(coloured.contains("working   no"), "{coloured}");
    assert!(!coloured.contains('\u{1b}'), "{coloured}");
}
