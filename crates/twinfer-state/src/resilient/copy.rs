//! What is known of the documents of a place: a copy in a SQLite file of this host, so that it is
//! known after a restart too, or in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::sqlite::{Durability, connect, failed, signed, unsigned, unusable};
use crate::{Document, Result};

/// Of all documents together, in bytes; those that were written longest ago go first.
const MAX_BYTES: i64 = 256 << 20;
/// Keys that are known, those of documents that are not there among them.
const MAX_KEYS: i64 = 100_000;
/// How often the two are looked at, in changes.
const TRIMMED: u64 = 64;

/// `value` is null for a document that is known not to be there.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS copies (
    key BLOB NOT NULL UNIQUE, value BLOB, version INTEGER NOT NULL, number INTEGER PRIMARY KEY AUTOINCREMENT);
";
/// The version of the tables. A copy of another one is made anew.
const SCHEMA: i32 = 1;

/// The copy.
pub(super) struct Copy {
    connection: Connection,
    path: PathBuf,
    /// What is in it already, so that reading the same document again writes nothing.
    versions: HashMap<String, Option<u64>>,
    changes: u64,
    most_bytes: i64,
}

impl Copy {
    /// Opens the file, or makes it; in memory without one.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn open(file: Option<&Path>) -> Result<Self> {
        let path = file.unwrap_or(Path::new(":memory:"));
        if let Some(folder) = file.and_then(Path::parent) {
            std::fs::create_dir_all(folder).map_err(|e| {
                unusable(path, &format!("has no folder, and it cannot be made: {e}"))
            })?;
        }
        let mut connection = connect(path, Durability::Process)?;
        let prepared = prepare(&mut connection);
        let versions = prepared.map_err(|e| failed(path, &e))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            versions,
            changes: 0,
            most_bytes: MAX_BYTES,
        })
    }

    /// What is known of a document: `None` for nothing.
    pub(super) fn get(&self, key: &str) -> Result<Option<Option<Document>>> {
        let found = self
            .connection
            .prepare_cached("SELECT value, version FROM copies WHERE key = ?1")
            .and_then(|mut statement| {
                let row = statement.query_row([key.as_bytes()], |row| {
                    let (value, version): (Option<Vec<u8>>, i64) = (row.get(0)?, row.get(1)?);
                    let version = unsigned(version);
                    Ok(value.map(|value| Document { value, version }))
                });
                row.optional()
            });
        found.map_err(|e| failed(&self.path, &e))
    }

    /// The keys of the documents that are known to be there.
    pub(super) fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let end = [prefix.as_bytes(), &[255]].concat();
        let keys = self
            .connection
            .prepare_cached(
                "SELECT key FROM copies WHERE key >= ?1 AND key < ?2 AND value NOT NULL ORDER BY key",
            )
            .and_then(|mut statement| {
                let rows = statement.query_map(params![prefix.as_bytes(), end], |row| {
                    let key: Vec<u8> = row.get(0)?;
                    Ok(String::from_utf8_lossy(&key).into_owned())
                })?;
                rows.collect()
            });
        keys.map_err(|e| failed(&self.path, &e))
    }

    /// The version that is known: `None` for nothing, `Some(None)` for a document that is not there.
    pub(super) fn version(&self, key: &str) -> Option<Option<u64>> {
        self.versions.get(key).copied()
    }

    /// Notes what the place said of a document, asked when `before` was known of it. Answers may
    /// overtake each other: what was noted meanwhile is replaced by something newer only.
    pub(super) fn note(
        &mut self,
        key: &str,
        before: Option<Option<u64>>,
        document: Option<(&[u8], u64)>,
    ) -> Result<()> {
        let (known, version) = (self.version(key), document.map(|(_, version)| version));
        if known == Some(version) || (known != before && version <= known.flatten()) {
            return Ok(());
        }
        let noted = self.write(key, document);
        noted.map_err(|e| failed(&self.path, &e))?;
        self.versions.insert(key.to_owned(), version);
        Ok(())
    }

    fn write(&mut self, key: &str, document: Option<(&[u8], u64)>) -> rusqlite::Result<()> {
        let (value, version) = document.unzip();
        {
            let mut statement = self.connection.prepare_cached(
                "INSERT OR REPLACE INTO copies (key, value, version) VALUES (?1, ?2, ?3)",
            )?;
            let version = signed(version.unwrap_or(0));
            statement.execute(params![key.as_bytes(), value, version])?;
        }
        self.changes += 1;
        if self.changes.is_multiple_of(TRIMMED) {
            let immediate = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(immediate)?;
            trim(&transaction, self.most_bytes)?;
            transaction.commit()?;
            // What went is written again when it comes again.
            self.versions = versions(&self.connection)?;
        }
        Ok(())
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<HashMap<String, Option<u64>>> {
    // Hosts of one user may share the file, and make it at once.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA {
        transaction.execute_batch("DROP TABLE IF EXISTS copies")?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.execute_batch(TABLES)?;
    transaction.commit()?;
    versions(connection)
}

fn versions(connection: &Connection) -> rusqlite::Result<HashMap<String, Option<u64>>> {
    let mut statement = connection.prepare("SELECT key, value IS NULL, version FROM copies")?;
    let rows = statement.query_map([], |row| {
        let (key, absent, version): (Vec<u8>, bool, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let key = String::from_utf8_lossy(&key).into_owned();
        Ok((key, (!absent).then_some(unsigned(version))))
    })?;
    rows.collect()
}

fn trim(transaction: &Transaction<'_>, most_bytes: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM copies WHERE number IN (
             SELECT number FROM (
                 SELECT number,
                     sum(ifnull(length(value), 0)) OVER newer AS bytes,
                     count(*) OVER newer AS keys
                 FROM copies WINDOW newer AS (ORDER BY number DESC))
             WHERE bytes > ?1 OR keys > ?2)",
        [most_bytes, MAX_KEYS],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_knows_what_it_was_told_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("below/copy.sqlite");
        let mut copy = Copy::open(Some(&file)).unwrap();
        assert_eq!(copy.get("a").unwrap(), None);
        copy.note("a", None, Some((b"new", 7))).unwrap();
        // These were asked for before, and came late.
        copy.note("a", None, Some((b"old", 6))).unwrap();
        copy.note("a", None, None).unwrap();
        copy.note("b", None, Some((b"", 8))).unwrap();
        copy.note("gone", None, Some((b"x", 9))).unwrap();
        copy.note("gone", Some(Some(9)), None).unwrap();
        for _ in 0..2 {
            let known = copy.get("a").unwrap().flatten().unwrap();
            assert_eq!((&*known.value, known.version), (&b"new"[..], 7));
            assert_eq!(copy.get("gone").unwrap(), Some(None));
            assert_eq!(copy.keys("").unwrap(), ["a", "b"]);
            drop(copy);
            copy = Copy::open(Some(&file)).unwrap();
        }
        // A place that was emptied begins with low versions again.
        copy.note("a", Some(Some(7)), Some((b"again", 1))).unwrap();
        assert_eq!(copy.get("a").unwrap().flatten().unwrap().version, 1);
    }

    #[test]
    fn hosts_of_one_user_share_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy.sqlite");
        std::thread::scope(|scope| {
            for host in 0..8 {
                let file = &file;
                scope.spawn(move || {
                    let mut copy = Copy::open(Some(file)).unwrap();
                    for number in 0..2 * TRIMMED {
                        let key = format!("{host} {number}");
                        copy.note(&key, None, Some((b"x", number + 1))).unwrap();
                    }
                });
            }
        });
        let copy = Copy::open(Some(&file)).unwrap();
        assert_eq!(copy.keys("").unwrap().len(), 8 * 128);
    }

    #[test]
    fn the_oldest_goes_when_there_is_too_much() {
        let mut copy = Copy {
            most_bytes: 32 << 10,
            ..Copy::open(None).unwrap()
        };
        let large = vec![0; 1 << 10];
        for number in 0..TRIMMED {
            let key = format!("{number:02}");
            copy.note(&key, None, Some((&large, number + 1))).unwrap();
        }
        let kept = copy.keys("").unwrap();
        assert_eq!(kept.len(), 32, "{kept:?}");
        assert_eq!((&*kept[0], &*kept[31]), ("32", "63"));
        // It can come again.
        copy.note("00", None, Some((&large, 1))).unwrap();
        assert!(copy.get("00").unwrap().is_some());
    }
}
