//! Spans as lines that fit a terminal: what, when, how long, and what came of it.

use chrono::{DateTime, Utc};
use mesh_six_core::{
    StoredEvent, Usage,
    event::spans::{Span, SpanKind, SpanState},
};
use owo_colors::{OwoColorize, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output;

/// Columns between two cells.
const GAP: usize = 2;
/// The fewest columns that a bar is worth drawing in.
const MIN_BAR: usize = 8;
/// The fewest that are left of a name.
const MIN_LABEL: usize = 10;

/// What it is: the tasks and their traces.
pub(super) fn head(events: &[StoredEvent], spans: &[Span]) -> Vec<String> {
    let tasks = spans.iter().filter(|span| span.kind == SpanKind::Task);
    let mut lines: Vec<String> = tasks
        .map(|span| {
            let task = span.task_id.map(|task| task.to_string()).unwrap_or_default();
            let event = events.iter().find(|event| event.event.task_id == span.task_id);
            let trace = event.map(|event| event.event.trace_id.to_string()).unwrap_or_default();
            format!("task {}  trace {}", task.bold(), trace.dimmed())
        })
        .collect();
    lines.push(String::new());
    lines
}

/// A line for each span, then their sum; no line is wider than `width`. What is under way goes on until `now`.
pub(super) fn waterfall(spans: &[Span], now: DateTime<Utc>, width: usize) -> Vec<String> {
    if spans.is_empty() {
        return vec!["the log has no task, model request or tool call of it".to_owned()];
    }
    let rows: Vec<Row> = spans.iter().map(|span| Row::new(span, spans)).collect();
    let columns = Columns::fit(&rows, width);
    let axis = Axis::new(spans, now, columns.bar);
    let mut lines: Vec<String> = spans.iter().zip(&rows).map(|(span, row)| row.line(span, &columns, &axis)).collect();
    lines.push(String::new());
    lines.push(clipped(&total(spans), width));
    lines
}

/// The texts of a span.
struct Row {
    label: String,
    offset: String,
    duration: String,
    facts: String,
}

impl Row {
    fn new(span: &Span, spans: &[Span]) -> Self {
        let name = output::plain(&span.name);
        let agent = span.agent_id.as_deref().map(output::plain).unwrap_or_default();
        let name = match span.kind {
            SpanKind::Task => name,
            SpanKind::Attempt => format!("{name} {agent}"),
            SpanKind::Model => format!("chat {name}"),
            SpanKind::Tool => format!("tool {name}"),
        };
        Self {
            label: format!("{}{name}", branches(span, spans)),
            offset: format!("+{}", output::duration(span.offset_ms)),
            duration: span.duration_ms.map_or_else(|| "…".to_owned(), output::duration),
            facts: facts(span),
        }
    }

    fn line(&self, span: &Span, columns: &Columns, axis: &Axis) -> String {
        let style = style(span);
        let mut cells = vec![padded(&self.label, columns.label)];
        if columns.bar > 0 {
            cells.push(axis.bar(span).style(style).to_string());
        }
        cells.push(format!("{:>1$}", self.offset, columns.offset).dimmed().to_string());
        cells.push(format!("{:>1$}", self.duration, columns.duration));
        if columns.facts > 0 && !self.facts.is_empty() {
            let facts = clipped(&self.facts, columns.facts);
            let bad = matches!(span.state, SpanState::Failed | SpanState::Cancelled);
            cells.push(if bad { facts.style(style).to_string() } else { facts });
        }
        cells.join(&" ".repeat(GAP))
    }
}

/// The lines of the tree before a name.
fn branches(span: &Span, spans: &[Span]) -> String {
    let mut text = String::new();
    let mut at = span;
    let mut first = true;
    while let Some(parent) = at.parent {
        let last = !spans.iter().skip(at.span + 1).any(|other| other.parent == Some(parent));
        let part = match (first, last) {
            (true, true) => "└ ",
            (true, false) => "├ ",
            (false, true) => "  ",
            (false, false) => "│ ",
        };
        text.insert_str(0, part);
        first = false;
        match spans.get(parent) {
            Some(above) if above.span < at.span => at = above,
            _ => break,
        }
    }
    text
}

fn facts(span: &Span) -> String {
    let mut parts = Vec::new();
    match (span.state, &span.error) {
        (SpanState::Failed, Some(error)) => parts.push(output::plain(error)),
        (SpanState::Failed, None) => parts.push("failed".to_owned()),
        (SpanState::Cancelled, _) => parts.push("cancelled".to_owned()),
        (SpanState::Open, _) => parts.push("running".to_owned()),
        (SpanState::Ok, _) => {}
    }
    parts.extend(span.usage.as_ref().and_then(|used| usage(used, false)));
    parts.join("  ")
}

fn usage(usage: &Usage, whole: bool) -> Option<String> {
    let Usage { input_tokens, output_tokens, cached_input_tokens, cost_usd, .. } = usage;
    if *input_tokens == 0 && *output_tokens == 0 && cost_usd.is_none() {
        return None;
    }
    let cached =
        if whole && *cached_input_tokens > 0 { format!(" ({cached_input_tokens} cached)") } else { String::new() };
    let cost = cost_usd.map(|cost| format!(" ${cost:.4}")).unwrap_or_default();
    Some(format!("{input_tokens}{cached}+{output_tokens} tokens{cost}"))
}

fn style(span: &Span) -> Style {
    match (span.state, span.kind) {
        (SpanState::Failed, _) => Style::new().red(),
        (SpanState::Cancelled, _) => Style::new().yellow(),
        (_, SpanKind::Task) => Style::new().dimmed(),
        (_, SpanKind::Attempt) => Style::new().green(),
        (_, SpanKind::Model) => Style::new().magenta(),
        (_, SpanKind::Tool) => Style::new().blue(),
    }
}

/// How many there are of each, and what they used.
fn total(spans: &[Span]) -> String {
    let mut parts = Vec::new();
    for (kind, one, many) in [
        (SpanKind::Task, "task", "tasks"),
        (SpanKind::Attempt, "attempt", "attempts"),
        (SpanKind::Model, "model request", "model requests"),
        (SpanKind::Tool, "tool call", "tool calls"),
    ] {
        let of_kind = || spans.iter().filter(|span| span.kind == kind);
        let failed = of_kind().filter(|span| span.state == SpanState::Failed).count();
        let failed = if failed > 0 { format!(" ({failed} failed)") } else { String::new() };
        match of_kind().count() {
            0 => {}
            1 => parts.push(format!("1 {one}{failed}")),
            n => parts.push(format!("{n} {many}{failed}")),
        }
    }
    let mut sum = Usage::default();
    spans.iter().filter(|span| span.kind == SpanKind::Model).filter_map(|span| span.usage).for_each(|u| sum += u);
    parts.extend(usage(&sum, true));
    parts.join(", ")
}

/// How wide each column is.
struct Columns {
    label: usize,
    bar: usize,
    offset: usize,
    duration: usize,
    facts: usize,
}

impl Columns {
    /// Shares `width`: names and facts give way to the bars, but not wholly.
    fn fit(rows: &[Row], width: usize) -> Self {
        let widest = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).width()).max().unwrap_or(0);
        let (offset, duration) = (widest(|r| &r.offset), widest(|r| &r.duration));
        let mut label = widest(|r| &r.label).min((width * 2 / 5).max(MIN_LABEL));
        let mut facts = widest(|r| &r.facts).min(width * 3 / 10);
        let gaps = GAP * if facts > 0 { 4 } else { 3 };
        let fixed = offset + duration + gaps;
        let missing = (fixed + label + facts + MIN_BAR).saturating_sub(width);
        let from_facts = missing.min(facts);
        facts -= from_facts;
        label -= (missing - from_facts).min(label.saturating_sub(MIN_LABEL));
        let bar = width.saturating_sub(fixed + label + facts);
        if bar >= MIN_BAR {
            return Self { label, bar, offset, duration, facts };
        }
        // Too narrow for bars: names, times, and what is left for the facts.
        let fixed = offset + duration + 2 * GAP;
        let label = label.min(width.saturating_sub(fixed).max(1));
        Self { label, bar: 0, offset, duration, facts: width.saturating_sub(fixed + label + GAP) }
    }
}

/// The time from the first beginning to the last end, on so many columns.
struct Axis {
    began: DateTime<Utc>,
    now: DateTime<Utc>,
    /// In microseconds, at least one.
    length: i64,
    columns: usize,
}

impl Axis {
    fn new(spans: &[Span], now: DateTime<Utc>, columns: usize) -> Self {
        let began = spans.iter().map(|span| span.started_at).min().unwrap_or(now);
        let end = |span: &Span| span.ended_at.unwrap_or(now).max(span.started_at);
        let ended = spans.iter().map(end).max().unwrap_or(now);
        let length = (ended - began).num_microseconds().unwrap_or(i64::MAX).max(1);
        Self { began, now, length, columns }
    }

    /// The column in which `time` lies, from 0 to all of them.
    fn column(&self, time: DateTime<Utc>) -> usize {
        let offset = (time - self.began).num_microseconds().unwrap_or(i64::MAX).clamp(0, self.length);
        let columns = i128::try_from(self.columns).unwrap_or(0);
        usize::try_from(i128::from(offset) * columns / i128::from(self.length)).unwrap_or(0)
    }

    fn bar(&self, span: &Span) -> String {
        let end = span.ended_at.unwrap_or(self.now);
        let from = self.column(span.started_at).min(self.columns.saturating_sub(1));
        // However short it was, it is seen.
        let to = self.column(end).max(from + 1);
        let waited = chrono::Duration::try_milliseconds(span.waited_ms.unwrap_or(0)).unwrap_or_default();
        let worked = span.started_at.checked_add_signed(waited).map_or(from, |time| self.column(time));
        // Something must be left of the work.
        let worked = worked.clamp(from, to - 1);
        let full = match span.kind {
            SpanKind::Task => "━",
            SpanKind::Attempt => "█",
            SpanKind::Model => "▆",
            SpanKind::Tool => "▄",
        };
        let open = span.state == SpanState::Open;
        let work = to - worked - usize::from(open);
        format!(
            "{}{}{}{}{}",
            " ".repeat(from),
            "░".repeat(worked - from),
            full.repeat(work),
            if open { "»" } else { "" },
            " ".repeat(self.columns.saturating_sub(to)),
        )
    }
}

/// `text` in exactly `width` columns.
fn padded(text: &str, width: usize) -> String {
    let text = clipped(text, width);
    let missing = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

/// `text` in at most `width` columns, with an ellipsis where it is cut.
fn clipped(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut cut, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests;
