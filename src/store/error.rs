//! Why the store could not do what was asked, and what that means for the session.

use std::time::Duration;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text holds the cause, because a log line in JSON shows no causes.
    #[error("Postgres did not do what was asked: {}", in_words(.0))]
    Database(sqlx::Error),
    #[error("Postgres cannot be reached at the address in DATABASE_URL: {0}")]
    Unreachable(std::io::Error),
    #[error("Postgres did not answer within {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("another process has taken the lease; nothing was recorded")]
    LeaseLost,
    #[error("the database is not ready: {0}")]
    Schema(String),
    #[error("the row of {0} holds a value that this program never wrote")]
    BadRow(&'static str),
}

/// What Postgres said, with its code. The library's own text begins with a preamble and ends with a
/// line number of Postgres's source.
pub(super) fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refusal) => match refusal.code() {
            Some(code) => format!("{} (SQLSTATE {code})", refusal.message()),
            None => refusal.message().to_owned(),
        },
        sqlx::Error::PoolTimedOut => "it gave no connection in time".to_owned(),
        error => error.to_string(),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } => Self::BadRow("a table"),
            error => Self::Database(error),
        }
    }
}

impl StoreError {
    /// Whether waiting can help. It cannot help against a schema or a value of another program.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Unreachable(_) | Self::Stalled(_))
            && !self.is_refusal()
    }

    /// Whether Postgres refuses what the rows hold: it would refuse them again.
    pub fn is_refusal(&self) -> bool {
        // Classes of cardinality, data and integrity errors.
        ["21", "22", "23"].iter().any(|class| self.is_of_class(class))
    }

    /// Whether Postgres denies this program access: a setting or a right is wrong.
    pub fn is_access_denied(&self) -> bool {
        // Authorisation, the name of the database, and the privileges of a role.
        ["28", "3D", "42501"].iter().any(|class| self.is_of_class(class))
    }

    /// Whether the session that met it certainly serves further, once the transaction is rolled
    /// back. Each other error may be one that only a new session ends: a database that has become
    /// read-only, a server that restarts, a connection that is lost, a transaction that was ended.
    pub(super) fn spares_the_session(&self) -> bool {
        match self {
            // Errors of the statement itself: values, constraints, conflicts with other
            // transactions, names and rights, locks, time limits.
            Self::Database(sqlx::Error::Database(_)) => {
                let of_a_statement = ["21", "22", "23", "40", "42", "55P03", "57014"];
                !self.denies_a_name() && of_a_statement.iter().any(|class| self.is_of_class(class))
            }
            Self::Database(_) | Self::Unreachable(_) | Self::Stalled(_) => false,
            Self::LeaseLost | Self::Schema(_) | Self::BadRow(_) => true,
        }
    }

    /// Whether a prepared statement is unknown, is known already, or is another one: something
    /// between exchanges sessions.
    pub(super) fn denies_a_name(&self) -> bool {
        ["26000", "42P05", "08P01"].iter().any(|class| self.is_of_class(class))
    }

    pub(super) fn is_of_class(&self, class: &str) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        error.code().is_some_and(|code| code.starts_with(class))
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;
