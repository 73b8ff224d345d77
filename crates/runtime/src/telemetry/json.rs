//! Log lines as JSON: the fields of the event and of all spans around it, side by side in one object.

use std::{fmt, io::Write, marker::PhantomData};

use mesh_six_core::time;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::MakeWriter,
    layer::Context,
    registry::{LookupSpan, Scope},
};

/// A layer that writes each event as one line.
pub(super) struct JsonLines<S, W> {
    service: String,
    writer: W,
    subscriber: PhantomData<fn(S)>,
}

impl<S, W> JsonLines<S, W> {
    /// Lines of `service` (a span's field of that name takes precedence) to `writer`.
    pub(super) fn new(service: &str, writer: W) -> Self {
        Self { service: service.to_owned(), writer, subscriber: PhantomData }
    }
}

/// A span's fields, kept with it.
struct SpanFields(Fields);

impl<S, W> Layer<S> for JsonLines<S, W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut line = Map::new();
        line.insert("ts".to_owned(), time::format(time::now()).into());
        line.insert("level".to_owned(), event.metadata().level().as_str().to_ascii_lowercase().into());
        line.insert("service".to_owned(), self.service.clone().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(SpanFields(fields)) = span.extensions().get::<SpanFields>() {
                line.extend(fields.0.clone());
            }
        }
        line.extend(own.0);
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        // Nowhere to complain to: a closed stdout must not end the service.
        let _ = self.writer.make_writer().write_all(&bytes);
    }
}

/// Collects fields under the names that readers of the log know.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => "msg",
            "trace.id" | "trace_id" => "traceId",
            "task.id" | "task_id" => "taskId",
            // For the exporter of traces alone.
            name if name.starts_with("otel.") => return,
            name => name,
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        // Display leaves the source out, so the chain is written here, where it is handled.
        let chain: Vec<String> = std::iter::successors(Some(value), |e| e.source()).map(ToString::to_string).collect();
        self.put(field, chain.join(": ").into());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fields_of_spans_and_event_stand_side_by_side() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry().with(JsonLines::new("simple-agent", move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("task", otel.name = "x", traceId = "abc", task.id = tracing::field::Empty);
            span.record("task.id", "t1");
            let _in = span.enter();
            let io = std::io::Error::other("no route");
            tracing::warn!(task.attempt = 2, error = &io as &dyn std::error::Error, "attempt failed");
        });
        let mut line: Value = serde_json::from_slice(&lines.0.lock().unwrap()).unwrap();
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
        line["ts"] = "now".into();
        insta::assert_snapshot!(line, @r#"{"error":"no route","level":"warn","msg":"attempt failed","service":"simple-agent","target":"mesh_six_runtime::telemetry::json::tests","task.attempt":2,"taskId":"t1","traceId":"abc","ts":"now"}"#);
    }
}
