//! What an app's answer to a bulk delivery means, exactly as Dapr reads it (platform-facts.md).

use std::collections::HashMap;

use serde::Deserialize;

/// What becomes of one message of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, never to be seen again.
    Ack,
    /// To be delivered again.
    Retry,
    /// To the dead letters.
    Drop,
}

/// One outcome for each of `entry_ids`, in their order.
pub(super) fn read(status: u16, body: &[u8], entry_ids: &[String]) -> Vec<Outcome> {
    let all = |outcome| vec![outcome; entry_ids.len()];
    match status {
        200..=299 => {}
        // Dapr takes a missing route as "not wanted", without a dead letter.
        404 => return all(Outcome::Ack),
        _ => return all(Outcome::Retry),
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return all(Outcome::Retry);
    };
    let told: HashMap<&str, &str> =
        answer.statuses.iter().map(|entry| (entry.entry_id.as_str(), entry.status.as_str())).collect();
    let outcome = |id: &String| match told.get(id.as_str()) {
        Some(&"SUCCESS") => Outcome::Ack,
        Some(&"DROP") => Outcome::Drop,
        // RETRY, empty, unknown, or not told at all.
        _ => Outcome::Retry,
    };
    entry_ids.iter().map(outcome).collect()
}

/// As lenient as Dapr: a status may be missing or be any text.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    statuses: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Entry {
    entry_id: String,
    status: String,
}

#[cfg(test)]
mod tests {
    use super::{Outcome::*, *};

    fn ids() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_table_of_answers() {
        let drop_a = br#"{"statuses":[{"entryId":"a","status":"DROP"},{"entryId":"b","status":"SUCCESS"}]}"#;
        for (status, body, expected) in [
            (200, &b""[..], [Retry; 3]),
            (204, b"", [Retry; 3]),
            (200, b"no json", [Retry; 3]),
            (200, b"{}", [Retry; 3]),
            // The answer of a single delivery says nothing about a batch.
            (200, br#"{"status":"SUCCESS"}"#, [Retry; 3]),
            (200, drop_a, [Drop, Ack, Retry]),
            (299, drop_a, [Drop, Ack, Retry]),
            (
                200,
                br#"{"statuses":[{"entryId":"a","status":""},{"entryId":"b"},{"entryId":"c","status":"OK"}]}"#,
                [Retry; 3],
            ),
            (
                200,
                br#"{"statuses":[{"entryId":"c","status":"SUCCESS"},{"entryId":"z","status":"DROP"}]}"#,
                [Retry, Retry, Ack],
            ),
            (404, drop_a, [Ack; 3]),
            (404, b"", [Ack; 3]),
            (301, drop_a, [Retry; 3]),
            (401, drop_a, [Retry; 3]),
            (500, drop_a, [Retry; 3]),
        ] {
            assert_eq!(read(status, body, &ids()), expected, "{status} {}", String::from_utf8_lossy(body));
        }
    }
}
