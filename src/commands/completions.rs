//! `completions`: what a shell completes. The package holds the same, and the man pages. Both are
//! made from the command line itself, so they cannot drift from it.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::{Ended, WELL, exit};

/// Where each shell looks for completions.
pub const HOW: &str = "To install:
  bash  keap-intercom-sync completions bash > ~/.local/share/bash-completion/completions/keap-intercom-sync
  zsh   keap-intercom-sync completions zsh > \"${fpath[1]}/_keap-intercom-sync\"
  fish  keap-intercom-sync completions fish > ~/.config/fish/completions/keap-intercom-sync.fish

The Debian package has installed them already.

Exit status: 0 all well; 2 nothing could be done; 78 a setting is wrong.";

const PROGRAM: &str = "keap-intercom-sync";

/// Prints the completions of one shell.
pub fn print(mut command: Command, shell: Shell) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, PROGRAM, &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    exit(WELL)
}

/// Writes man pages, and the completions of the shells that packages serve, into a directory.
pub fn write_all(command: Command, directory: &Path) -> Ended {
    fn without_help(command: Command) -> Command {
        command.disable_help_subcommand(true).mut_subcommands(without_help)
    }
    let mut command = without_help(command);
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command.clone(), directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, PROGRAM, directory)?;
    }
    exit(WELL)
}
