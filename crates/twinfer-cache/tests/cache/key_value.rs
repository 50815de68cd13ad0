//! What a key-value store makes special: values have a largest size.

use twinfer::ErrorCode;
use twinfer_cache::{
    Backend, BlobWriter, KeyValue, KeyValueBackend, MAX_VALUE_BYTES, MemoryKeyValue,
};
use twinfer_package::Digest;

use crate::packages::noise;
use crate::world::{InKeyValue, Place, run};

fn keys(store: &MemoryKeyValue) -> Vec<String> {
    run(store.keys()).unwrap()
}

#[test]
fn documents_of_any_size_are_exchanged_at_once() {
    let place = InKeyValue::new();
    let backend = place.open();
    for length in [
        0,
        1,
        MAX_VALUE_BYTES - 1,
        MAX_VALUE_BYTES,
        3 << 20,
        5,
        2 << 20,
    ] {
        let content = noise(length as u64, length);
        run(backend.set_document("x/y", &content)).unwrap();
        assert!(run(backend.document("x/y")).unwrap().unwrap() == content);
        let all = run(backend.documents("x/")).unwrap();
        assert!(all == [("x/y".to_owned(), content)]);
        let pieces = match length < MAX_VALUE_BYTES {
            true => 0,
            false => length.div_ceil(MAX_VALUE_BYTES),
        };
        // Of the one before, nothing is left.
        assert_eq!(keys(place.store()).len(), 1 + pieces, "{length}");
    }
    // A piece that is missing or wrong makes it none.
    let piece = keys(place.store())
        .into_iter()
        .find(|key| key.starts_with("c/"))
        .unwrap();
    run(place.store().set(&piece, b"wrong")).unwrap();
    assert_eq!(run(backend.document("x/y")).unwrap(), None);
    assert_eq!(
        run(backend.documents("")).unwrap(),
        [("x/y".to_owned(), vec![])]
    );
    run(place.store().delete(&piece)).unwrap();
    assert_eq!(run(backend.document("x/y")).unwrap(), None);
    run(backend.remove_document("x/y")).unwrap();
    assert_eq!(keys(place.store()), [""; 0]);
}

#[test]
fn a_document_that_does_not_fit_leaves_the_old_one() {
    let store = MemoryKeyValue::with_limit(2 << 20);
    let backend = KeyValueBackend::new(store.clone());
    run(backend.set_document("x", b"old")).unwrap();
    let written = run(backend.set_document("x", &noise(1, 4 << 20)));
    assert_eq!(written.unwrap_err().code(), ErrorCode::OutOfSpace);
    assert_eq!(run(backend.document("x")).unwrap().unwrap(), b"old");
    assert_eq!(keys(&store), ["d/x"]);
}

#[test]
fn a_blob_is_there_when_its_head_is() {
    let place = InKeyValue::new();
    let bytes = noise(1, (2 << 20) + 5);
    let digest = Digest::of(&bytes);
    let mut writer = run(place.open().write(&digest)).unwrap();
    run(writer.append(&bytes)).unwrap();
    run(writer.commit()).unwrap();
    let hex = digest.hex();
    let expected = [0, 1, 2].map(|number| format!("b/{hex}/{number}"));
    assert_eq!(keys(place.store())[..3], expected);
    let head = run(place.store().get(&format!("h/{hex}")))
        .unwrap()
        .unwrap();
    assert_eq!(head, b"2097157 3");

    // A crash just before the head: nothing need be fetched again.
    run(place.store().delete(&format!("h/{hex}"))).unwrap();
    let backend = place.reopen();
    assert_eq!(run(backend.size(&digest)).unwrap(), None);
    assert_eq!(run(backend.partials()).unwrap(), [(digest, 3 << 20)]);
    let writer = run(backend.write(&digest)).unwrap();
    assert_eq!(writer.len(), bytes.len() as u64);
    run(writer.commit()).unwrap();
    assert!(run(backend.read(&digest, u64::MAX)).unwrap().unwrap() == bytes);

    // Heads that are not ours lead nowhere.
    for head in [
        "",
        "1",
        "5 5",
        "99999999999999999999 1",
        "1 18446744073709551615",
        "x y",
    ] {
        run(place.store().set(&format!("h/{hex}"), head.as_bytes())).unwrap();
        assert_eq!(run(backend.size(&digest)).unwrap(), None, "{head}");
    }
    run(backend.remove(&digest)).unwrap();
    assert_eq!(keys(place.store()), [""; 0]);
}

#[test]
fn what_others_keep_in_the_store_stays() {
    let place = InKeyValue::new();
    for key in ["b/x/0", "h/x", "other", "d"] {
        run(place.store().set(key, b"theirs")).unwrap();
    }
    let cache = place.cache();
    run(cache.clear()).unwrap();
    let listing = run(cache.list()).unwrap();
    assert_eq!((listing.blobs, listing.partial_bytes), (0, 0));
    assert_eq!(keys(place.store()), ["b/x/0", "d", "h/x", "other"]);
}
