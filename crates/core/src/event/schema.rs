//! The JSON Schema of events, for readers in other languages.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    StoredEvent, catalogue,
    payload::{
        Answered, Deregistered, Dispatched, LlmCall, LlmResponse, Progress, Registered, Rejected, Retried, Submitted,
        TaskEnd, TimedOut, ToolInvocation, ToolResult, Truncated,
    },
};

/// The JSON Schema (draft 2020-12) of an event as the log has it. For each known type that has a fixed
/// payload it says how that looks; a payload over 64 KiB has the form `Truncated` instead. Events of other
/// types may have any payload.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let conditions = vec![
        when::<Submitted>(&mut generator, catalogue::TASK_SUBMITTED),
        when::<Dispatched>(&mut generator, catalogue::TASK_DISPATCHED),
        when::<Progress>(&mut generator, catalogue::TASK_PROGRESS),
        when::<Answered>(&mut generator, catalogue::TASK_RESULT),
        when::<Rejected>(&mut generator, catalogue::TASK_RESULT_REJECTED),
        when::<TimedOut>(&mut generator, catalogue::TASK_TIMEOUT),
        when::<Retried>(&mut generator, catalogue::TASK_RETRY),
        when::<TaskEnd>(&mut generator, catalogue::TASK_COMPLETED),
        when::<TaskEnd>(&mut generator, catalogue::TASK_FAILED),
        when::<TaskEnd>(&mut generator, catalogue::TASK_CANCELLED),
        when::<LlmCall>(&mut generator, catalogue::LLM_CALL),
        when::<LlmResponse>(&mut generator, catalogue::LLM_RESPONSE),
        when::<ToolInvocation>(&mut generator, catalogue::TOOL_INVOCATION),
        when::<ToolResult>(&mut generator, catalogue::TOOL_RESULT),
        when::<Registered>(&mut generator, catalogue::AGENT_REGISTERED),
        when::<Deregistered>(&mut generator, catalogue::AGENT_DEREGISTERED),
    ];
    let mut root = generator.into_root_schema_for::<StoredEvent>();
    // Id and time differ from event to event; what the generator got for them says nothing.
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.remove("default");
        }
    }
    root.insert("allOf".to_owned(), Value::Array(conditions));
    root.to_value()
}

fn when<P: JsonSchema>(generator: &mut SchemaGenerator, event_type: &str) -> Value {
    let whole = generator.subschema_for::<P>();
    let cut = generator.subschema_for::<Truncated>();
    json!({
        "if": {"properties": {"eventType": {"const": event_type}}},
        "then": {"properties": {"payload": {"anyOf": [whole, cut]}}},
    })
}
