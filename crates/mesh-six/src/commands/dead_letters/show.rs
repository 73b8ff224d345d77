//! `mesh-six dead-letters show`.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use mesh_six_core::time;
use mesh_six_db::dead_letters::Letter;
use serde::Deserialize;
use serde_json::Value;

use crate::{cli::ShowLetterArgs, client::Client, output};

#[derive(Deserialize)]
struct LetterView {
    #[serde(flatten)]
    letter: Letter,
    envelope: String,
    encoding: String,
    obstacle: Option<String>,
}

/// Prints a letter and its message: nicely where that is JSON, else as base64.
pub(crate) async fn run(args: ShowLetterArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    let shown: Value = client.get(&["api", "v1", "dead-letters", &args.id]).await?;
    if args.output.json {
        output::json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let view: LetterView = serde_json::from_value(shown).context("the answer is not a dead letter")?;
    let bytes = match view.encoding.as_str() {
        "base64" => BASE64_STANDARD.decode(&view.envelope).context("the answer is not base64")?,
        _ => view.envelope.clone().into_bytes(),
    };
    if args.raw {
        std::io::stdout().write_all(&bytes)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in facts(&view) {
        output::print_line(&format!("{name:<8} {value}"))?;
    }
    output::print_line(&format!("\n{}", message(&bytes)))?;
    Ok(ExitCode::SUCCESS)
}

fn facts(view: &LetterView) -> [(&'static str, String); 8] {
    let letter = &view.letter;
    let times = if letter.tries == 1 { "once" } else { &format!("{} times", letter.tries) };
    let decided = letter.decided_at.map(|at| format!(", decided {}", time::format(at))).unwrap_or_default();
    let failed = format!("{times}, first {}, last {}", time::format(letter.first_at), time::format(letter.last_at));
    [
        ("letter", letter.id.clone()),
        ("state", format!("{}{decided}", letter.state.as_str())),
        ("failed", failed),
        ("app", output::plain(&letter.app_id)),
        ("topic", output::plain(&letter.topic)),
        ("event", format!("{} from {}", output::plain(&letter.event_id), output::plain(&letter.source))),
        ("reason", output::plain(&letter.reason)),
        (
            "replay",
            match &view.obstacle {
                None => "can be replayed".to_owned(),
                Some(why) => format!("cannot be replayed: {}", output::plain(why)),
            },
        ),
    ]
}

/// The bytes for people.
fn message(bytes: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(bytes).ok();
    match json.as_ref().and_then(|json| serde_json::to_string_pretty(json).ok()) {
        Some(text) => output::plain_lines(&text),
        None if bytes.is_empty() => "no bytes are left".to_owned(),
        None => format!("{} bytes that are no JSON, in base64:\n{}", bytes.len(), BASE64_STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_nicely_and_other_bytes_in_base64() {
        assert_eq!(message(br#"{"b":1.50,"a":[]}"#), "{\n  \"a\": [],\n  \"b\": 1.5\n}");
        assert_eq!(message(b"\xff\x1b[31m"), "6 bytes that are no JSON, in base64:\n/xtbMzFt");
        assert_eq!(message(b""), "no bytes are left");
        assert_eq!(message("\"\u{9b}31m\"".as_bytes()), "\"\u{fffd}31m\"", "nothing that a terminal would obey");
    }
}
