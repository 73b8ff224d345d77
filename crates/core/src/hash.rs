//! Hashes of answers, so that a message and the inbox can be compared (events.md §6).

use std::fmt::Write;

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::task::TaskError;

/// SHA-256 over the canonical text of the answer or the error, in hex.
///
/// Canonical: the same for every JSON text of one value, and for a value that went through `jsonb`, which
/// orders members in its own way and writes `1e16` as `10000000000000000`.
pub fn result_hash(result: Option<&Value>, error: Option<&TaskError>) -> String {
    let mut text = String::new();
    match (result, error) {
        (Some(value), _) => canonical(value, &mut text),
        (None, Some(e)) => {
            let _ = write!(text, "{}: {}", e.error_type, e.message);
        }
        (None, None) => {}
    }
    hex(&Sha256::digest(text.as_bytes()))
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Number(n) => number(n, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            // Sorted here, since the order of a `Map` depends on a feature that any dependency may switch on.
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (i, (name, member)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(&Value::String(name.clone()), out);
                out.push(':');
                canonical(member, out);
            }
            out.push('}');
        }
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

/// Integers as they are; other numbers in the shortest decimal form that is the same number, without an
/// exponent, so that an integral one looks like the integer.
fn number(n: &Number, out: &mut String) {
    let _ = match n.as_f64() {
        Some(f) if n.is_f64() => write!(out, "{}", if f == 0.0 { 0.0 } else { f }),
        _ => write!(out, "{n}"),
    };
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}
