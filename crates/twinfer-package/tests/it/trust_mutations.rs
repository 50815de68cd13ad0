//! Everything about trust, on damaged bytes: an answer or an error, never a panic, and never
//! an admission that rests on what was damaged. The fuzz target calls the same function.

#[path = "../../../../fuzz/src/trust.rs"]
#[allow(dead_code, missing_docs)]
mod trust;

use trust::{PLACES, Place, admit, everything, right};

/// A small generator (xorshift): the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

#[test]
fn what_is_right_is_admitted() {
    for place in PLACES {
        assert!(admit(place, &right(place).unwrap()).unwrap(), "{place:?}");
    }
}

#[test]
fn cut_off_anywhere_nothing_is_admitted() {
    for place in PLACES {
        let right = right(place).unwrap();
        for length in (0..right.len()).step_by(23) {
            let admitted = admit(place, &right[..length]);
            assert!(!admitted.unwrap_or(false), "{place:?} cut at {length}");
        }
    }
}

#[test]
fn mutated_bytes_are_answered_without_a_panic() {
    const TOKENS: &[&str] = &[
        "null",
        "[]",
        "{}",
        "-1",
        "1e999",
        "\"\"",
        "18446744073709551615",
        "[[[[",
        "\\u0000",
        "é",
    ];
    let mut random = Random(0x5eed);
    for place in PLACES {
        let right = right(place).unwrap();
        for _ in 0..15 {
            let mut bytes = right.clone();
            for _ in 0..=random.next(3) {
                let at = random.next(bytes.len());
                match random.next(4) {
                    0 => bytes[at] ^= 1 << random.next(8),
                    1 => drop(bytes.drain(at..(at + 1 + random.next(20)).min(bytes.len()))),
                    2 => {
                        let token = TOKENS[random.next(TOKENS.len())].bytes();
                        bytes.splice(at..at, token);
                    }
                    _ => {
                        let part = bytes[at..(at + 30).min(bytes.len())].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
                if bytes.is_empty() {
                    bytes.push(b' ');
                }
            }
            // A changed signature or a changed bundle never counts; the rest may be changed in
            // what nobody signs (spaces, the size that a tool writes).
            let admitted = admit(place, &bytes).unwrap_or(false);
            if place == Place::TagsPayload || place == Place::Statement {
                // Signed anew by the accepted key: it says what it says.
                continue;
            }
            if admitted && place == Place::Manifest {
                // Only when the files are the ones that were signed.
                let manifest = twinfer_package::Manifest::from_json(&bytes).unwrap();
                let signed = twinfer_package::Manifest::from_json(&right).unwrap();
                let files = |m: &twinfer_package::Manifest| -> Vec<_> {
                    let layers = m.layers.iter();
                    layers
                        .map(|l| (l.file_name().unwrap().to_owned(), l.digest))
                        .collect()
                };
                assert_eq!(files(&manifest), files(&signed));
            }
        }
    }
}

#[test]
fn any_bytes_are_read_as_anything_without_a_panic() {
    let mut random = Random(0xfeed);
    for place in PLACES {
        everything(&right(place).unwrap());
    }
    for length in 0..40 {
        let bytes: Vec<u8> = (0..length).map(|_| random.next(256) as u8).collect();
        everything(&bytes);
    }
}
