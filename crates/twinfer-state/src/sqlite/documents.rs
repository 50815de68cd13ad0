//! Documents and what changed, as SQL.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{signed, unsigned};
use crate::change::MAX_CHANGES;
use crate::{ANY, Changes, Document};

pub(super) fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<Document>> {
    let mut statement =
        connection.prepare_cached("SELECT value, version FROM documents WHERE key = ?1")?;
    let document = statement.query_row([key.as_bytes()], |row| {
        Ok(Document {
            value: row.get(0)?,
            version: unsigned(row.get(1)?),
        })
    });
    document.optional()
}

pub(super) fn put(
    transaction: &Transaction<'_>,
    key: &str,
    value: &[u8],
    expected: u64,
) -> rusqlite::Result<Option<u64>> {
    if !is_at(transaction, key, expected)? {
        return Ok(None);
    }
    let revision = note(transaction, key)?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO documents (key, value, version) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET value = ?2, version = ?3",
    )?;
    statement.execute(params![key.as_bytes(), value, revision])?;
    Ok(Some(unsigned(revision)))
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    key: &str,
    expected: u64,
) -> rusqlite::Result<bool> {
    if expected == 0 || !is_at(transaction, key, expected)? {
        return Ok(false);
    }
    let mut statement = transaction.prepare_cached("DELETE FROM documents WHERE key = ?1")?;
    if statement.execute([key.as_bytes()])? == 0 {
        return Ok(false);
    }
    note(transaction, key)?;
    Ok(true)
}

/// Whether a document has this version.
fn is_at(transaction: &Transaction<'_>, key: &str, expected: u64) -> rusqlite::Result<bool> {
    if expected == ANY {
        return Ok(true);
    }
    let mut statement =
        transaction.prepare_cached("SELECT version FROM documents WHERE key = ?1")?;
    let version: Option<i64> = statement
        .query_row([key.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(version.unwrap_or(0) == signed(expected))
}

/// Notes a change of a key; gives its revision.
fn note(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<i64> {
    let mut statement =
        transaction.prepare_cached("UPDATE revision SET last = last + 1 RETURNING last")?;
    let revision: i64 = statement.query_row([], |row| row.get(0))?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO changes (key, revision) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET revision = ?2",
    )?;
    statement.execute(params![key.as_bytes(), revision])?;
    // Counting is a walk through the table: now and then is often enough.
    if revision % 100 == 0 {
        let mut statement = transaction.prepare_cached(
            "SELECT revision FROM changes ORDER BY revision DESC LIMIT 1 OFFSET ?1",
        )?;
        let last: Option<i64> = statement
            .query_row([signed(MAX_CHANGES as u64)], |row| row.get(0))
            .optional()?;
        if let Some(last) = last {
            transaction.execute("DELETE FROM changes WHERE revision <= ?1", [last])?;
            transaction.execute("UPDATE revision SET forgotten = ?1", [last])?;
        }
    }
    Ok(revision)
}

/// The first key that does not begin with this: no key has the byte 255, which UTF-8 lacks.
fn end_of(prefix: &str) -> Vec<u8> {
    [prefix.as_bytes(), &[255]].concat()
}

pub(super) fn keys(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached("SELECT key FROM documents WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
    let keys = statement.query_map(params![prefix.as_bytes(), end_of(prefix)], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    texts(keys)
}

pub(super) fn changed(
    transaction: &Transaction<'_>,
    prefix: &str,
    since: Option<u64>,
) -> rusqlite::Result<Changes> {
    let mut statement = transaction.prepare_cached("SELECT last, forgotten FROM revision")?;
    let (last, forgotten): (i64, i64) =
        statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let known = since
        .map(signed)
        .filter(|since| (forgotten..=last).contains(since));
    let keys = match known {
        None => None,
        Some(since) if since == last => Some(Vec::new()),
        Some(since) => {
            let mut statement = transaction.prepare_cached(
                "SELECT key FROM changes WHERE revision > ?1 AND key >= ?2 AND key < ?3 ORDER BY revision",
            )?;
            let parameters = params![since, prefix.as_bytes(), end_of(prefix)];
            let keys = statement.query_map(parameters, |row| row.get::<_, Vec<u8>>(0))?;
            Some(texts(keys)?)
        }
    };
    Ok(Changes {
        revision: unsigned(last),
        keys,
    })
}

fn texts(keys: impl Iterator<Item = rusqlite::Result<Vec<u8>>>) -> rusqlite::Result<Vec<String>> {
    keys.map(|key| Ok(String::from_utf8_lossy(&key?).into_owned()))
        .collect()
}
