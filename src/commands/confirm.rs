//! Asks a person before something is done that cannot be undone.

use std::io::IsTerminal as _;

use anyhow::bail;

/// Asks on the terminal. Without one, nobody can answer.
pub(super) fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked, because the input is no terminal; add --yes");
    }
    outln!("{question} [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
