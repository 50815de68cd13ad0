//! Maps whose keys may come from clients, and so must not grow without end.

use std::collections::HashMap;

/// Entries that a map keeps.
const MAX_ENTRIES: usize = 100_000;

/// A map that forgets: what is past its time, and beyond [`MAX_ENTRIES`] what is past it soonest.
#[derive(Debug)]
pub(crate) struct Bounded<T> {
    entries: HashMap<String, (T, u64)>,
    most: usize,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            most: MAX_ENTRIES,
        }
    }
}

impl<T> Bounded<T> {
    /// An entry that is not past its time.
    pub(crate) fn get(&self, key: &str, now: u64) -> Option<&T> {
        let (value, until) = self.entries.get(key)?;
        (*until > now).then_some(value)
    }

    pub(crate) fn insert(&mut self, key: &str, value: T, until: u64, now: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            *entry = (value, until);
            return;
        }
        if self.entries.len() >= self.most {
            self.shrink(now);
        }
        self.entries.insert(key.to_owned(), (value, until));
    }

    /// Makes room for a tenth, so that it is rarely done.
    fn shrink(&mut self, now: u64) {
        self.entries.retain(|_, (_, until)| *until > now);
        let keep = self.most - self.most.div_ceil(10);
        if self.entries.len() <= keep {
            return;
        }
        let mut times: Vec<u64> = self.entries.values().map(|(_, until)| *until).collect();
        let out = times.len() - keep;
        let (_, last, _) = times.select_nth_unstable(out - 1);
        let last = *last;
        let mut out = out;
        self.entries.retain(|_, (_, until)| {
            let goes = *until <= last && out > 0;
            out -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_forgets_what_is_past_its_time_first() {
        let mut map = Bounded {
            most: 10,
            ..Bounded::default()
        };
        for until in 1..=10 {
            map.insert(&until.to_string(), until, until, 0);
        }
        assert_eq!((map.get("5", 4), map.get("5", 5)), (Some(&5), None));
        // All are alive: the one that would go first goes.
        map.insert("new", 0, 100, 0);
        assert_eq!(map.entries.len(), 10);
        assert_eq!((map.get("1", 0), map.get("2", 0)), (None, Some(&2)));
        map.insert("newer", 0, 100, 6);
        assert_eq!(map.entries.len(), 6);
        // With one time for all there is room too.
        for number in 0..100 {
            map.insert(&format!("same {number}"), 0, 50, 0);
        }
        assert!(map.entries.len() <= 10);
        assert!(map.get("same 99", 0).is_some());
    }
}
