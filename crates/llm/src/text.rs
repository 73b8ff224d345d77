//! Counting and cutting text by characters.

/// Characters in `text`, the unit of all lengths in events.
pub(crate) fn chars(text: &str) -> usize {
    text.chars().count()
}

/// Tokens in `chars` characters, by the rule of thumb of four characters a token.
pub(crate) fn tokens(chars: usize) -> u64 {
    u64::try_from(chars.div_ceil(4)).unwrap_or(u64::MAX)
}

/// At most `max` characters of a foreign word that goes into an event or a metric, without control
/// characters: PostgreSQL cannot keep U+0000, and one bad word must not cost the event.
pub(crate) fn word(text: &str, max: usize) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).take(max).collect()
}

/// `text` cut to `max` characters, with a marker that tells how long it was.
pub(crate) fn cut(text: String, max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(max) else { return text };
    format!("{}\n[cut: the first {max} of {} characters]", &text[..end], chars(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_by_characters_and_says_so() {
        assert_eq!(cut("häß".to_owned(), 3), "häß");
        assert_eq!(cut("häßlich".to_owned(), 3), "häß\n[cut: the first 3 of 7 characters]");
    }

    #[test]
    fn four_characters_are_a_token() {
        assert_eq!([0, 1, 4, 5].map(tokens), [0, 1, 1, 2]);
    }

    #[test]
    fn a_foreign_word_is_short_and_has_no_control_characters() {
        assert_eq!(word("st\0op and more", 5), "st\u{FFFD}op");
    }
}
