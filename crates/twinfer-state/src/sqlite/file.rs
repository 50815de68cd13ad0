//! The file: its settings, its tables, its version.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::unusable;
use crate::{Result, StateError};

/// `TWFS`: what SQLite keeps of the program that a file belongs to.
const APPLICATION: i32 = 0x5457_4653;
/// The version of the tables.
const SCHEMA: i32 = 1;
/// How long a process waits for another that writes.
const BUSY: Duration = Duration::from_secs(5);

/// Keys are blobs: compared byte by byte, whatever is in them.
const TABLES: &str = "
CREATE TABLE documents (key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL);
CREATE TABLE changes (key BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX changes_by_revision ON changes (revision);
CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL, forgotten INTEGER NOT NULL);
INSERT INTO revision VALUES (1, 0, 0);
CREATE TABLE counters (name BLOB PRIMARY KEY, sum INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX counters_by_end ON counters (until);
CREATE TABLE buckets (name BLOB PRIMARY KEY, full_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX buckets_by_end ON buckets (full_at);
CREATE TABLE merges (id BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
";

/// What a change survives once it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The loss of power.
    Power,
    /// The end of the process.
    Process,
}

/// Opens the file for documents; makes its folder and its tables when they are not there.
pub(super) fn open(path: &Path) -> Result<Connection> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| unusable(path, &format!("has no folder, and it cannot be made: {e}")))?;
    }
    // Before anything in it is changed.
    let looked = Connection::open(path).map_err(|e| failed(path, &e))?;
    // At one moment: another process may be making it.
    let looked_at = looked.busy_timeout(BUSY).and_then(|()| {
        let moment = looked.unchecked_transaction()?;
        identify(&moment)
    });
    looked_at.map_err(|e| failed(path, &e))?.check(path)?;
    drop(looked);
    let mut connection = connect(path, Durability::Power)?;
    private(path);
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// What a file says of itself.
struct Identity {
    application: i32,
    version: i32,
    tables: i64,
}

fn identify(connection: &Connection) -> rusqlite::Result<Identity> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get(0));
    Ok(Identity {
        application: number("application_id")?,
        version: number("user_version")?,
        tables: connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
    })
}

impl Identity {
    /// Whether it is ours, with the tables in it; not yet for an empty one.
    fn check(&self, path: &Path) -> Result<bool> {
        match (self.application, self.version, self.tables) {
            (APPLICATION, SCHEMA, _) => Ok(true),
            (0, 0, 0) => Ok(false),
            (APPLICATION, other, _) => Err(unusable(
                path,
                &format!(
                    "has tables of version {other}, this Twinfer knows {SCHEMA}: use the one that made it, or another file"
                ),
            )),
            _ => Err(unusable(path, "is another program's: name another file")),
        }
    }
}

/// A connection with its settings. Switching to WAL needs the file for itself for a moment, and
/// SQLite does not wait for that.
pub(crate) fn connect(path: &Path, durability: Durability) -> Result<Connection> {
    let begun = Instant::now();
    loop {
        match try_connect(path, durability) {
            Err(e) if is_busy(&e) && begun.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(10));
            }
            connection => return connection.map_err(|e| failed(path, &e)),
        }
    }
}

fn try_connect(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match durability {
        Durability::Power => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Keys of clients may be in it: for the owner only. Best effort, as not all file systems can.
fn private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    }
    #[cfg(not(unix))]
    let _ = path;
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    let read = |e: rusqlite::Error| failed(path, &e);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(read)?;
    // Another process may have been faster.
    if identify(&transaction).map_err(read)?.check(path)? {
        return Ok(());
    }
    transaction
        .execute_batch(TABLES)
        .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION))
        .and_then(|()| transaction.pragma_update(None, "user_version", SCHEMA))
        .and_then(|()| transaction.commit())
        .map_err(read)
}

/// What SQLite says, with the file. Almost all of its errors are the file's or the disk's, and so
/// those of every call.
pub(crate) fn failed(path: &Path, error: &rusqlite::Error) -> StateError {
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ": make room",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ": this user must be able to write to it and to its folder"
        }
        Some(ErrorCode::NotADatabase) => ": name another file",
        Some(ErrorCode::DatabaseCorrupt) => ": put back a copy, or begin with a new one",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ": another process holds it for long"
        }
        _ => "",
    };
    StateError::unreachable(format!(
        "the state file {}: {error}{remedy}",
        path.display()
    ))
}
