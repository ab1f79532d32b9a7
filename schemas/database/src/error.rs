use std::error::Error;
use tokio_postgres::error::Severity;

/// Why the database was not loaded. It is as it was before, but where
/// [`DatabaseError::Unknown`] says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL cannot be used.
    #[error("the database's URL: {reason}; write it as postgres://user@host:port/database")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// No connection.
    #[error("database {place} cannot be reached: {reason}")]
    Connect {
        /// Host, port and name.
        place: String,
        /// Why.
        reason: String,
    },
    /// A later version of this program has migrated it.
    #[error("the database's tables are of version {found}, this program knows {known}: update it")]
    Version {
        /// Of the database.
        found: i32,
        /// Of this program.
        known: i32,
    },
    /// The user lacks a right.
    #[error("database {place}: its user may not {what}: {mend}")]
    Rights {
        /// Host, port and name.
        place: String,
        /// What the user may not do.
        what: &'static str,
        /// What the owner of the database can do about it.
        mend: String,
    },
    /// A column has another type there.
    #[error(
        "column `{column}` of outshine.{table} is {found} in the database and {given} here: \
             drop it there, or load into another database"
    )]
    ColumnType {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// Its type in the database.
        found: String,
        /// The type that is needed.
        given: &'static str,
    },
    /// A column of a type that has no place there.
    #[error("column `{column}` of outshine.{table} cannot be of type {found}")]
    Unsupported {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// Its type here.
        found: String,
    },
    /// Rows that should be one.
    #[error(
        "rows of outshine.{table} come twice: {rows}; every galaxy, and every pixel of it, \
             must be there once"
    )]
    Duplicate {
        /// The table.
        table: &'static str,
        /// Some of them.
        rows: String,
    },
    /// The rows to load could not be read.
    #[error(transparent)]
    Rows(Box<dyn Error + Send + Sync>),
    /// It refused, or went away.
    #[error(
        "database {place}, {doing}: {reason}; it is as it was before, and loading again is safe"
    )]
    Refused {
        /// Host, port and name.
        place: String,
        /// What was asked of it.
        doing: &'static str,
        /// Why.
        reason: String,
    },
    /// It went away when all was done but to hear that it is kept.
    #[error(
        "database {place} went away while committing: {reason}; whether it has kept the rows is \
         not known, and loading again is safe"
    )]
    Unknown {
        /// Host, port and name.
        place: String,
        /// How.
        reason: String,
    },
}

/// An error while committing: what the server refused did not happen; of what a
/// connection that ended had asked for, nobody heard.
pub fn uncommitted(place: String, error: &tokio_postgres::Error) -> DatabaseError {
    let reason = reason(error);
    let severity = error.as_db_error().and_then(tokio_postgres::error::DbError::parsed_severity);
    match severity {
        Some(Severity::Error) => DatabaseError::Refused { place, doing: "committing", reason },
        _ => DatabaseError::Unknown { place, reason },
    }
}

/// What the server said, or what happened to the connection; the library's own
/// text names neither.
pub fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", said.message());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
