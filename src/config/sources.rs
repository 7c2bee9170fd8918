//! Where settings come from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The folder of the settings and secrets that the units of `systemd/` use.
const SERVICE: &str = "/etc/keap-intercom-sync";

/// Where settings come from, apart from the built-in defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file given with `--config`.
    pub file: Option<PathBuf>,
    /// The environment variables. Text that was not UTF-8 holds U+FFFD and is refused.
    pub env: BTreeMap<String, String>,
    /// The directory of systemd credentials.
    pub credentials_dir: Option<PathBuf>,
}

/// Shows names only: any value may be a secret, perhaps of another program.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &self.env.keys())
            .field("credentials_dir", &self.credentials_dir)
            .finish()
    }
}

impl Sources {
    /// The sources of this process, and `file` if one was given.
    pub fn from_process(file: Option<PathBuf>) -> Self {
        let text = |raw: OsString| raw.to_string_lossy().into_owned();
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
        Self {
            file,
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            credentials_dir: credentials.filter(|dir| !dir.is_empty()).map(PathBuf::from),
        }
    }

    /// The sources of the service on this machine, so that a command sees what the daemon sees. If
    /// the machine serves several accounts, each has its own folder.
    pub fn of_service(account: Option<&str>) -> Self {
        let folder =
            account.map_or(PathBuf::from(SERVICE), |account| Path::new(SERVICE).join(account));
        let process = Self::from_process(Some(folder.join("config.toml")));
        let credentials = folder.join("credentials");
        Self { credentials_dir: process.credentials_dir.clone().or(Some(credentials)), ..process }
    }
}
