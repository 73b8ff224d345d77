//! Text that comes from models, tools and strangers: bounded, and such that PostgreSQL can keep it.

use serde_json::Value;

/// What stands for a character that cannot be kept.
const REPLACEMENT: &str = "\u{fffd}";

/// Whether `value` holds U+0000 somewhere, in a text or in a member's name. PostgreSQL keeps no such text.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(s) => s.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || has_nul(v)),
        _ => false,
    }
}

/// `value` with U+FFFD for each U+0000, so that an odd answer of a model is kept rather than lost.
#[must_use]
pub fn without_nul(value: Value) -> Value {
    if !has_nul(&value) {
        return value;
    }
    match value {
        Value::String(s) => Value::String(s.replace('\0', REPLACEMENT)),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k.replace('\0', REPLACEMENT), without_nul(v))).collect(),
        other => other,
    }
}

/// The beginning of `text`: at most `max` bytes, whole characters.
pub fn beginning(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// `text` where it has at most `max` bytes, else its beginning and an ellipsis.
pub fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max { text.to_owned() } else { format!("{}…", beginning(text, max)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_is_replaced_in_texts_and_names_at_any_depth() {
        let value = json!({"a\0": ["x\0y", {"b": "\0"}], "c": 1});
        assert!(has_nul(&value));
        assert_eq!(without_nul(value), json!({"a\u{fffd}": ["x\u{fffd}y", {"b": "\u{fffd}"}], "c": 1}));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(beginning("aé", 2), "a");
        assert_eq!(shortened("aé", 3), "aé");
        assert_eq!(shortened("aéz", 3), "aé…");
    }
}
