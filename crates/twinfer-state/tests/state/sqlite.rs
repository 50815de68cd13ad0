//! What is special of SQLite: the file.

use std::fs;

use twinfer_state::{ANY, SqliteState, State};

#[tokio::test]
async fn state_outlives_whoever_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    let first = SqliteState::open(&file).unwrap();
    let version = first.put("a", b"1", ANY).await.unwrap().unwrap();
    drop(first);
    let again = SqliteState::open(&file).unwrap();
    assert_eq!(again.get("a").await.unwrap().unwrap().version, version);
    assert!(again.put("b", b"1", 0).await.unwrap().unwrap() > version);
    assert_eq!(again.status().kind, "sqlite");
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| {
        let error = SqliteState::open(folder.path().join(name)).err().unwrap();
        assert!(error.message().contains(name), "{error}");
        error.message().to_owned()
    };
    fs::write(
        folder.path().join("text"),
        "a text that is long enough ".repeat(100),
    )
    .unwrap();
    assert!(refused("text").contains("name another file"));
    assert!(
        fs::read_to_string(folder.path().join("text"))
            .unwrap()
            .starts_with("a text")
    );

    let other = rusqlite::Connection::open(folder.path().join("other")).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert!(refused("other").contains("another program's"));
    let mode: String = other
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete");

    drop(SqliteState::open(folder.path().join("newer")).unwrap());
    let newer = rusqlite::Connection::open(folder.path().join("newer")).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    let message = refused("newer");
    assert!(
        message.contains("version 2") && message.contains("knows 1"),
        "{message}"
    );

    fs::write(folder.path().join("file"), "").unwrap();
    assert!(refused("file/state").contains("cannot be made"));
    fs::create_dir(folder.path().join("folder")).unwrap();
    refused("folder");
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    drop(SqliteState::open(&file).unwrap());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
