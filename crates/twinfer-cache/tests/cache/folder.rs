//! What only a folder can do, and what can be done to one.

use std::fs;
use std::path::Path;
use std::process::Command;

use twinfer::ErrorCode;
use twinfer_cache::{Backend, BlobWriter, Cache, FolderBackend, LoadOptions, LockMode, Options};
use twinfer_package::{Digest, FolderStore, Store};

use crate::origin::{Fault, Scripted};
use crate::packages::{Heard, content, noise, publish, quiet, reference, registry};
use crate::world::{InFolder, Place, Virtual, run};

#[test]
fn the_layout_is_the_documented_one() {
    let (place, store) = (InFolder::new(), registry());
    let made = publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let origins = [Scripted::new(&store)];
    let cache = place.cache();
    let options = LoadOptions::default();
    let loaded = run(cache.load(&origins, &reference("risk:live"), &options, &quiet)).unwrap();
    let names = |path: &str| {
        let entries = fs::read_dir(place.path().join(path)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(""),
        [
            "CACHEDIR.TAG",
            "blobs",
            "documents",
            "locks",
            "partial",
            "temporary"
        ]
    );
    assert_eq!(names("blobs/sha256").len(), 4);
    assert_eq!(
        names("documents"),
        ["indexes", "packages", "references", "statistics"]
    );
    assert_eq!(names("documents/packages"), [made.digest().hex()]);
    assert_eq!(names("locks"), [format!("use-{}", made.digest().hex())]);
    drop(loaded);
    for empty in ["locks", "partial", "temporary"] {
        assert_eq!(names(empty), [""; 0], "{empty}");
    }
    let tag = fs::read_to_string(place.path().join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    // It can be read as the blobs of a registry.
    let blob = FolderStore::new(place.path()).blob(&made.manifest).unwrap();
    assert_eq!(Digest::of(&blob), made.digest());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let fresh = place.path().join("deep/er");
        run(FolderBackend::new(&fresh).set_document("x", b"y")).unwrap();
        let mode = fs::metadata(&fresh).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn keys_lead_nowhere_else() {
    let place = InFolder::new();
    let backend = place.open();
    for key in [
        "",
        "..",
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "a/",
        ".hidden",
        "A",
        "a\\b",
        "ä",
        "a\0",
        &"x".repeat(201),
    ] {
        assert!(run(backend.set_document(key, b"")).is_err(), "{key}");
        assert!(run(backend.document(key)).is_err(), "{key}");
        assert!(
            run(backend.lock(key, LockMode::Shared, false)).is_err(),
            "{key}"
        );
    }
    run(backend.set_document("a/b.c_d-e", b"f")).unwrap();
    let all = run(backend.documents("a/b")).unwrap();
    assert_eq!(all, [("a/b.c_d-e".to_owned(), b"f".to_vec())]);
    assert_eq!(run(backend.documents("a/c")).unwrap(), []);
    assert_eq!(run(backend.documents("c/")).unwrap(), []);
}

#[test]
fn somebody_elses_folder_is_left_alone() {
    let place = InFolder::new();
    fs::write(place.path().join("holiday.jpeg"), "").unwrap();
    let error = run(place.open().set_document("x", b"")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Storage);
    assert!(error.message().contains("holiday.jpeg"), "{error}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_and_pipes_not_opened() {
    let (place, other) = (InFolder::new(), InFolder::new());
    let digest = Digest::of(b"x");
    let backend = place.open();
    for folder in ["blobs/sha256", "partial", "documents", "locks"] {
        fs::create_dir_all(place.path().join(folder)).unwrap();
    }
    let outside = other.path().join("outside");
    let plant = |name: &str, how: &dyn Fn(&Path)| how(&place.path().join(name));
    let link = |path: &Path| std::os::unix::fs::symlink(&outside, path).unwrap();
    let pipe = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let hex = digest.hex();
    for how in [&link as &dyn Fn(&Path), &pipe] {
        for file in [
            format!("blobs/sha256/{hex}"),
            format!("partial/{hex}"),
            "documents/x".into(),
            "locks/x".into(),
        ] {
            plant(&file, how);
        }
        assert!(run(backend.read(&digest, 10)).is_err());
        assert!(run(backend.size(&digest)).is_err());
        assert!(run(backend.write(&digest)).is_err());
        assert!(run(backend.document("x")).is_err());
        assert!(run(backend.lock("x", LockMode::Exclusive, false)).is_err());
        assert_eq!(run(backend.blobs()).unwrap(), []);
        assert_eq!(
            run(backend.documents("")).unwrap(),
            [("x".to_owned(), vec![])]
        );
        // What is exchanged or removed is the link itself.
        run(backend.set_document("x", b"y")).unwrap();
        run(backend.remove_document("x")).unwrap();
        run(backend.remove(&digest)).unwrap();
        fs::remove_file(place.path().join("locks/x")).unwrap();
        assert!(!outside.exists());
    }
}

#[test]
fn locks_exclude_within_a_process_and_leave_nothing() {
    let place = InFolder::new();
    let (one, other) = (place.open(), place.open());
    let take = |backend: &FolderBackend, mode| run(backend.lock("x", mode, true)).unwrap();
    use LockMode::{Exclusive, Shared};
    let held = take(&one, Exclusive).unwrap();
    assert!(take(&other, Exclusive).is_none() && take(&other, Shared).is_none());
    drop(held);
    let held = [take(&one, Shared).unwrap(), take(&other, Shared).unwrap()];
    assert!(take(&one, Exclusive).is_none());
    let [first, second] = held;
    drop(first);
    assert!(take(&one, Exclusive).is_none());
    drop(second);
    assert!(take(&one, Exclusive).is_some());
    assert_eq!(fs::read_dir(place.path().join("locks")).unwrap().count(), 0);

    // Many who take and remove it at the same time never have it together.
    let inside = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let backend = place.open();
                for _ in 0..500 {
                    if let Some(_held) = take(&backend, Exclusive) {
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                    }
                }
            });
        }
    });
}

#[test]
fn old_temporary_files_are_swept() {
    let place = InFolder::new();
    let backend = place.open();
    run(backend.set_document("x", b"y")).unwrap();
    let (old, young) = (
        place.path().join("temporary/1-0"),
        place.path().join("temporary/1-1"),
    );
    fs::write(&old, "half").unwrap();
    fs::write(&young, "half").unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3601);
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(then)
        .unwrap();
    run(backend.partials()).unwrap();
    assert!(!old.exists() && young.exists());
}

#[test]
fn room_is_what_the_file_system_says() {
    let place = InFolder::new();
    let space = run(FolderBackend::new(place.path().join("not/yet")).space()).unwrap();
    assert_eq!(space.available.is_some(), cfg!(unix));
    assert_eq!(space.quota, None);
}

#[test]
fn a_folder_that_cannot_be_made_costs_nothing_but_the_cache() {
    let place = InFolder::new();
    fs::write(place.path().join("file"), "").unwrap();
    cannot_be_written(&place.path().join("file/cache"), false);
}

/// As root, permissions bind nobody: the folder is mounted once more, read-only.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_folder_gives_what_it_has() {
    use std::os::unix::fs::PermissionsExt;
    let (place, store) = (InFolder::new(), registry());
    publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let options = LoadOptions::default();
    let origins = [Scripted::new(&store)];
    drop(
        run(place
            .cache()
            .load(&origins, &reference("risk:live"), &options, &quiet))
        .unwrap(),
    );
    let mount = Mount::bind_read_only(place.path());
    if mount.is_none() {
        println!("no mounts here: with permissions");
        for folder in [
            "",
            "blobs/sha256",
            "documents",
            "documents/packages",
            "documents/indexes",
            "documents/references",
            "locks",
            "partial",
            "temporary",
        ] {
            fs::set_permissions(place.path().join(folder), fs::Permissions::from_mode(0o500))
                .unwrap();
        }
    }
    cannot_be_written(place.path(), true);
}

fn cannot_be_written(path: &Path, has: bool) {
    let store = registry();
    let made = publish(&store, "risk", "1.0.0", noise(1, 10_000));
    let backend = FolderBackend::new(path);
    let digest = made.model_digest();
    for result in [
        run(backend.set_document("x", b"")).err(),
        run(backend.write(&Digest::of(b"new"))).err(),
        run(backend.lock("x", LockMode::Exclusive, false)).err(),
    ] {
        assert_eq!(result.unwrap().code(), ErrorCode::Storage);
    }
    assert_eq!(run(backend.remove(&digest)).is_err(), has);
    let there = run(backend.read(&digest, 10_000)).unwrap();
    assert_eq!(there, has.then(|| made.model.clone()));
    assert_eq!(
        run(backend.documents("indexes/")).unwrap().len(),
        usize::from(has)
    );

    let cache = Cache::new(backend, Virtual::default(), Options::default());
    let origins = [Scripted::new(&store)];
    let options = LoadOptions::default();
    let live = reference("risk:live");
    for _ in 0..2 {
        let heard = Heard::default();
        let loaded = run(cache.load(&origins, &live, &options, &|e| heard.hear(e))).unwrap();
        assert!(loaded.package.model_bytes() == made.model);
        assert!(heard.told().iter().all(|text| text == "not kept storage"));
    }
    assert_eq!(origins[0].take_opens(), if has { 0 } else { 8 });
    assert_eq!(run(cache.verify()).unwrap().good, if has { 4 } else { 0 });
    run(cache.list()).unwrap();
}

/// A file system of two megabytes, and where nothing can be mounted, a limit of the process.
#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_everything_still_loads() {
    let place = InFolder::new();
    let folder = place.path().join("cache");
    fs::create_dir(&folder).unwrap();
    match Mount::tmpfs(&folder, "2m") {
        Some(_mount) => on_a_full_disk(&folder),
        None => println!("no mounts here: only with a limit of the process"),
    }
    let status = crate::child::limited("full", &place.path().join("other")).status();
    assert!(status.unwrap().success());
}

pub fn on_a_full_disk(folder: &Path) {
    let store = registry();
    let made = publish(&store, "risk", "1.0.0", noise(1, 5 << 20));
    let origins = [Scripted::new(&store)];
    let cache = Cache::new(
        FolderBackend::new(folder),
        Virtual::default(),
        Options::default(),
    );
    let options = LoadOptions::default();
    for _ in 0..2 {
        let heard = Heard::default();
        let live = reference("risk:live");
        let loaded = run(cache.load(&origins, &live, &options, &|e| heard.hear(e))).unwrap();
        assert!(loaded.package.model_bytes() == made.model);
        assert_eq!(heard.told(), ["not kept out_of_space"]);
    }
    let large = content(&store, &noise(2, 3 << 20));
    let ensured = run(cache.ensure(&origins, &large, &quiet));
    assert_eq!(ensured.unwrap_err().code(), ErrorCode::OutOfSpace);
    // What does not fit takes no room; what does is still kept.
    assert_eq!(run(cache.backend().partials()).unwrap(), []);
    let small = content(&store, &noise(3, 50_000));
    run(cache.ensure(&origins, &small, &quiet)).unwrap();
    origins[0].set_always(Fault::Dead);
    run(cache.get(&origins, &small, &quiet)).unwrap();
    assert_eq!(run(cache.verify()).unwrap().damaged, []);
    // A document that does not fit leaves the old one.
    run(cache.backend().set_document("x", b"old")).unwrap();
    let written = run(cache.backend().set_document("x", &noise(4, 4 << 20)));
    assert_eq!(written.unwrap_err().code(), ErrorCode::OutOfSpace);
    assert_eq!(run(cache.backend().document("x")).unwrap().unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.join("temporary")).unwrap().count(), 0);
    // The writer knows how much of a piece was written.
    let mut writer = run(cache.backend().write(&Digest::of(b"w"))).unwrap();
    let piece = noise(5, 64 << 10);
    let mut appended = 0;
    while run(writer.append(&piece)).is_ok() {
        appended += piece.len() as u64;
    }
    assert!(writer.len() <= appended);
    let end = writer.len();
    let last = run(writer.read_back(end.saturating_sub(1), 10)).unwrap();
    assert_eq!(last.len() as u64, end.min(1));
    drop(writer);
    run(cache.backend().remove_partial(&Digest::of(b"w"))).unwrap();
}

#[cfg(target_os = "linux")]
struct Mount<'a>(&'a Path);

#[cfg(target_os = "linux")]
impl<'a> Mount<'a> {
    fn of(path: &'a Path, commands: &[&[&str]]) -> Option<Self> {
        let mount = |arguments: &[&str]| {
            let mut command = Command::new("mount");
            let command = command
                .args(arguments)
                .arg(path)
                .stderr(std::process::Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let mut done = 0;
        while done < commands.len() && mount(commands[done]) {
            done += 1;
        }
        let mounted = (done > 0).then_some(Self(path));
        mounted.filter(|_| done == commands.len())
    }

    fn bind_read_only(path: &'a Path) -> Option<Self> {
        let text = path.to_str().unwrap();
        Self::of(path, &[&["--bind", text], &["-o", "remount,bind,ro"]])
    }

    fn tmpfs(path: &'a Path, size: &str) -> Option<Self> {
        Self::of(
            path,
            &[&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]],
        )
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mount<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0).status().unwrap();
    }
}
