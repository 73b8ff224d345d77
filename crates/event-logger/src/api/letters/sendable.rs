//! Whether a letter's message can be sent again as the same event.

use mesh_six_core::{ApiError, ErrorType, names};
use mesh_six_db::dead_letters::StoredLetter;
use mesh_six_sidecar::CloudEvent;

/// Refuses what would be another message, or would be lost.
pub(super) fn check(stored: &StoredLetter) -> Result<(), ApiError> {
    let refused =
        |message: String| Err(ApiError { field: Some("id".to_owned()), ..ApiError::new(ErrorType::Conflict, message) });
    let topic = &stored.letter.topic;
    if stored.envelope.is_empty() {
        return refused("nothing is left to be sent: it was empty, or its content was erased".to_owned());
    }
    if let Err(error) = CloudEvent::from_slice(&stored.envelope) {
        let place = error.field.map(|field| format!("{field}: ")).unwrap_or_default();
        let message =
            format!("its bytes are no CloudEvent, so it would not be the same message ({place}{})", error.message);
        return refused(message);
    }
    if topic == names::DEAD_LETTER {
        return refused("nobody told to which topic it had been sent".to_owned());
    }
    if !names::is_topic(topic) {
        return refused(format!("nobody listens to topic {topic}, so it would be lost"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use chrono::DateTime;
    use mesh_six_db::dead_letters::{Letter, LetterState};

    use super::*;

    fn letter(topic: &str, envelope: &str) -> StoredLetter {
        let letter = Letter {
            id: "0".repeat(32),
            app_id: "a".to_owned(),
            topic: topic.to_owned(),
            source: "s".to_owned(),
            event_id: "1".to_owned(),
            reason: "r".to_owned(),
            tries: 1,
            state: LetterState::Waiting,
            first_at: DateTime::UNIX_EPOCH,
            last_at: DateTime::UNIX_EPOCH,
            decided_at: None,
            bytes: 1,
        };
        StoredLetter { letter, envelope: envelope.as_bytes().to_vec() }
    }

    #[test]
    fn only_an_event_of_a_known_topic_can_be_sent_again() {
        let event = r#"{"id":"1","source":"s"}"#;
        for topic in [names::TASK_RESULTS, names::TASK_EVENTS, names::TASK_PROGRESS, "tasks.simple-agent"] {
            check(&letter(topic, event)).unwrap();
        }
        for (topic, envelope, why) in [
            (names::TASK_EVENTS, "", "nothing is left"),
            (names::TASK_EVENTS, "no JSON", "no CloudEvent"),
            (names::TASK_EVENTS, r#"{"id":"1"}"#, "(source: is missing)"),
            (names::TASK_EVENTS, r#"[{"id":"1","source":"s"}]"#, "no CloudEvent"),
            (names::DEAD_LETTER, event, "to which topic"),
            ("tasks.", event, "nobody listens to topic tasks."),
            ("sha256:00", event, "nobody listens"),
            ("elsewhere", event, "nobody listens"),
        ] {
            let error = check(&letter(topic, envelope)).unwrap_err();
            assert_eq!((error.error_type, error.field.as_deref()), (ErrorType::Conflict, Some("id")));
            assert!(error.message.contains(why), "{why}: {error}");
        }
    }
}
