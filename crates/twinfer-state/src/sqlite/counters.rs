//! Counters and buckets, as SQL.

use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{signed, unsigned};
use crate::memory::later;
use crate::{Rate, Sum, Taken};

/// How long the name of a merge is known.
const MERGE_KNOWN: Duration = Duration::from_secs(86_400);
/// Rows past their time that a change takes along: more than it can make, so none stay.
const SWEPT: u32 = 4;

pub(super) fn add(
    transaction: &Transaction<'_>,
    counter: &str,
    by: i64,
    expires: Duration,
    now: u64,
) -> rusqlite::Result<i64> {
    sweep(transaction, "counters", "name", "until", now)?;
    let mut statement =
        transaction.prepare_cached("SELECT sum FROM counters WHERE name = ?1 AND until > ?2")?;
    let sum: Option<i64> = statement
        .query_row(params![counter.as_bytes(), signed(now)], |row| row.get(0))
        .optional()?;
    let sum = sum.unwrap_or(0).saturating_add(by);
    let mut statement = transaction.prepare_cached(
        "INSERT INTO counters (name, sum, until) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET sum = ?2, until = ?3",
    )?;
    let until = signed(later(now, expires));
    statement.execute(params![counter.as_bytes(), sum, until])?;
    Ok(sum)
}

pub(super) fn merge(
    transaction: &Transaction<'_>,
    id: &str,
    sums: &[Sum],
    now: u64,
) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM merges WHERE until <= ?1", [signed(now)])?;
    let until = signed(later(now, MERGE_KNOWN));
    let new = transaction.execute(
        "INSERT INTO merges (id, until) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
        params![id.as_bytes(), until],
    )?;
    for sum in sums.iter().filter(|_| new > 0) {
        add(transaction, &sum.counter, sum.by, sum.expires, now)?;
    }
    Ok(())
}

pub(super) fn take(
    transaction: &Transaction<'_>,
    bucket: &str,
    rate: Rate,
    now: u64,
) -> rusqlite::Result<Taken> {
    sweep(transaction, "buckets", "name", "full_at", now)?;
    let mut statement =
        transaction.prepare_cached("SELECT full_at FROM buckets WHERE name = ?1")?;
    let full_at: Option<i64> = statement
        .query_row([bucket.as_bytes()], |row| row.get(0))
        .optional()?;
    let (taken, next) = rate.take(unsigned(full_at.unwrap_or(0)), now);
    let mut statement = transaction.prepare_cached(
        "INSERT INTO buckets (name, full_at) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET full_at = ?2",
    )?;
    statement.execute(params![bucket.as_bytes(), signed(next)])?;
    Ok(taken)
}

/// Takes a few rows away that are past their time.
fn sweep(
    transaction: &Transaction<'_>,
    table: &str,
    key: &str,
    end: &str,
    now: u64,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(&format!(
        "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {end} <= ?1 LIMIT {SWEPT})"
    ))?;
    statement.execute([signed(now)])?;
    Ok(())
}
