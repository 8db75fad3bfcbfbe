//! Topic patterns as AMQP 0-9-1 defines them: words between dots, `*` for one word, `#` for any number. Pure.

/// Whether any of `patterns` matches a routing key.
#[must_use]
pub fn subscribes(patterns: &[String], routing_key: &str) -> bool {
    let key: Vec<&str> = routing_key.split('.').collect();
    patterns.iter().any(|pattern| matches(&pattern.split('.').collect::<Vec<_>>(), &key))
}

fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#"], _) => true,
        (["#", rest @ ..], _) => (0..=key.len()).any(|skipped| matches(rest, &key[skipped..])),
        (["*", rest @ ..], [_, key @ ..]) => matches(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && matches(rest, key),
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_broker_matches_them() {
        for (pattern, key, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#", "", true),
            ("#.c", "a.b.c", true),
            ("#.c", "a.b.d", false),
            ("*.#.z", "a.z", true),
            ("a.b", "a.b.c", false),
        ] {
            assert_eq!(subscribes(&[pattern.to_owned()], key), expected, "{pattern} {key}");
        }
    }
}
