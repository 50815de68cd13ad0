//! "Did you mean" for names that nobody declared.

/// Names longer than this are not compared: the comparison is quadratic, and the names come
/// from the caller.
const LONGEST: usize = 64;

/// `; did you mean ...?` with the most similar name, or nothing.
pub(crate) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let wanted = simplified(name);
    let near = known
        .take(1000)
        .filter(|known| known.len() <= LONGEST && name.len() <= LONGEST)
        .map(|known| (distance(&wanted, &simplified(known)), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= wanted.len() / 3);
    near.map_or(String::new(), |(_, known)| {
        format!("; did you mean `{known}`?")
    })
}

/// Without what people vary: case, spaces, `_`, `-`.
fn simplified(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Number of insertions, removals and changes of a character (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn similar_names_are_suggested_and_others_are_not() {
        let known = ["mean radius", "mean texture"];
        let cases = [
            ("mean_radius", "; did you mean `mean radius`?"),
            ("Mean Textur", "; did you mean `mean texture`?"),
            ("age", ""),
            ("", ""),
            ("é\u{10ffff}", ""),
        ];
        for (name, want) in cases {
            assert_eq!(suggestion(name, known.into_iter()), want, "{name}");
        }
        assert_eq!(suggestion(&"a".repeat(1 << 20), known.into_iter()), "");
    }
}
