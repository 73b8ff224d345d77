//! What the log says in numbers: counts, errors, tokens, cost and latency over a window of time.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use mesh_six_core::{ApiError, Usage, Validate, event::EventFilter, time};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    error::DbResult,
    statement::{Statement, Value},
};

/// Groups that one answer has at most.
const MAX_GROUPS: usize = 1_000;
/// The window where the caller gives no beginning.
const DAY: TimeDelta = TimeDelta::hours(24);

/// Which events are counted. All given conditions must hold; an unknown one is refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatsFilter {
    /// Recorded at or after; 24 hours before the end where not given.
    #[serde(with = "time::micros_option")]
    pub since: Option<DateTime<Utc>>,
    /// Recorded before; now where not given.
    #[serde(with = "time::micros_option")]
    pub until: Option<DateTime<Utc>>,
    /// Reported by this agent.
    pub agent_id: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
}

impl Validate for StatsFilter {
    fn validate(&self) -> Result<(), ApiError> {
        let Self { since, until, agent_id, event_type } = self.clone();
        EventFilter { since, until, agent_id, event_type, ..EventFilter::default() }.validate()?;
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return Err(ApiError::validation("since", "the window begins after its end"));
        }
        Ok(())
    }
}

/// The numbers of a window.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The window's beginning.
    #[serde(with = "time::micros")]
    pub since: DateTime<Utc>,
    /// Its end, not in it.
    #[serde(with = "time::micros")]
    pub until: DateTime<Utc>,
    /// Events in `groups`.
    pub count: u64,
    /// Of these, those that tell of a failure.
    pub errors: u64,
    /// What the model requests in `groups` used.
    pub usage: Usage,
    /// By type, agent and model, the most frequent first.
    pub groups: Vec<Group>,
    /// Whether there are more groups than an answer holds.
    pub truncated: bool,
}

/// The events of one type, agent and model.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The type.
    pub event_type: String,
    /// Who reported them.
    pub agent_id: String,
    /// The model they are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many.
    pub count: u64,
    /// Of these, those that tell of a failure.
    pub errors: u64,
    /// What model requests used. Only `llm.response` has it: other events repeat the same tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Half took no longer, in milliseconds; absent where the events tell no duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// Of 20, 19 took no longer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
}

type Columns = (
    Text,
    Text,
    Nullable<Text>,
    BigInt,
    BigInt,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Double>,
    Nullable<Array<Double>>,
);

type Row =
    (String, String, Option<String>, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<f64>, Option<Vec<f64>>);

/// Payloads of others may hold anything under these names, so each number is checked and bounded before it is cast.
const BEGIN: &str = "SELECT event_type, agent_id, model, count(*), count(*) FILTER (WHERE failed), \
    sum(input)::bigint, sum(output)::bigint, sum(cached)::bigint, sum(cost), \
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ms) FROM (\
    SELECT event_type, agent_id, \
    CASE WHEN jsonb_typeof(payload -> 'model') = 'string' THEN left(payload ->> 'model', 200) END AS model, \
    event_type IN ('task.failed', 'task.timeout', 'task.result.rejected') \
        OR coalesce(payload -> 'success' = 'false'::jsonb, false) \
        OR coalesce(jsonb_typeof(payload -> 'error') IN ('object', 'string'), false) \
        OR coalesce(llm AND payload ->> 'finishReason' = 'error', false) AS failed, \
    CASE WHEN llm AND jsonb_typeof(usage -> 'inputTokens') = 'number' \
        THEN least(greatest((usage ->> 'inputTokens')::numeric, 0), 1e12)::bigint END AS input, \
    CASE WHEN llm AND jsonb_typeof(usage -> 'outputTokens') = 'number' \
        THEN least(greatest((usage ->> 'outputTokens')::numeric, 0), 1e12)::bigint END AS output, \
    CASE WHEN llm AND jsonb_typeof(usage -> 'cachedInputTokens') = 'number' \
        THEN least(greatest((usage ->> 'cachedInputTokens')::numeric, 0), 1e12)::bigint END AS cached, \
    CASE WHEN llm AND jsonb_typeof(usage -> 'costUsd') = 'number' \
        THEN least(greatest((usage ->> 'costUsd')::numeric, 0), 1e12)::float8 END AS cost, \
    CASE WHEN jsonb_typeof(payload -> 'durationMs') = 'number' \
        THEN least(greatest((payload ->> 'durationMs')::numeric, 0), 1e12)::float8 END AS ms \
    FROM (SELECT event_type, agent_id, payload, payload -> 'usage' AS usage, event_type = 'llm.response' AS llm \
    FROM mesh_six_events WHERE timestamp >= ";

/// The numbers of the events that meet `filter`.
pub async fn stats(conn: &mut AsyncPgConnection, filter: &StatsFilter) -> DbResult<Stats> {
    filter.validate()?;
    let until = match filter.until {
        Some(until) => until,
        None => clock::now(conn).await?,
    };
    let since = filter.since.unwrap_or(until - DAY);
    StatsFilter { since: Some(since), until: Some(until), ..StatsFilter::default() }.validate()?;
    let mut rows: Vec<Row> = statement::<Columns>(BEGIN, filter, since, until).load(conn).await?;
    let truncated = rows.len() > MAX_GROUPS;
    rows.truncate(MAX_GROUPS);
    let groups: Vec<Group> = rows.into_iter().map(Group::from).collect();
    let mut stats = Stats { since, until, count: 0, errors: 0, usage: Usage::default(), groups: Vec::new(), truncated };
    for group in &groups {
        stats.count += group.count;
        stats.errors += group.errors;
        if let Some(usage) = group.usage {
            stats.usage += usage;
        }
    }
    stats.groups = groups;
    Ok(stats)
}

fn statement<'a, R>(
    begin: &'static str,
    filter: &'a StatsFilter,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Statement<'a, R> {
    let mut query = Statement::new(begin).bind(Value::Time(since)).sql(" AND timestamp < ").bind(Value::Time(until));
    if let Some(agent) = &filter.agent_id {
        query = query.sql(" AND agent_id = ").bind(Value::Text(agent));
    }
    if let Some(event_type) = &filter.event_type {
        query = query.sql(" AND event_type = ").bind(Value::Text(event_type));
    }
    let end =
        ") raw) event GROUP BY event_type, agent_id, model ORDER BY count(*) DESC, event_type, agent_id, model LIMIT ";
    query.sql(end).bind(Value::Long(i64::try_from(MAX_GROUPS + 1).unwrap_or(i64::MAX)))
}

impl From<Row> for Group {
    fn from(row: Row) -> Self {
        let (event_type, agent_id, model, count, errors, input, output, cached, cost_usd, percentiles) = row;
        let percentile = |at: usize| percentiles.as_ref().and_then(|both| both.get(at).copied());
        let (p50_ms, p95_ms) = (percentile(0), percentile(1));
        let count = unsigned(Some(count));
        let usage = (event_type == mesh_six_core::event::catalogue::LLM_RESPONSE).then(|| Usage {
            input_tokens: unsigned(input),
            output_tokens: unsigned(output),
            cached_input_tokens: unsigned(cached),
            cost_usd,
            requests: count,
        });
        Self { event_type, agent_id, model, count, errors: unsigned(Some(errors)), usage, p50_ms, p95_ms }
    }
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
mod tests {
    use diesel_async::SimpleAsyncConnection;
    use mesh_six_testing::TestDatabase;

    use super::*;
    use crate::{Database, DbConfig, owner};

    /// A month of events, one each minute, in order.
    const MONTH: &str = "SELECT mesh_six_ensure_partitions(1, '2024-05-01'); \
        INSERT INTO mesh_six_events (timestamp, occurred_at, id, trace_id, agent_id, event_type, payload) \
        SELECT t, t, gen_random_uuid(), gen_random_uuid(), 'agent-' || extract(minute FROM t)::integer % 10, \
        'llm.response', jsonb_build_object('durationMs', 5, 'text', repeat('x', 200)) \
        FROM generate_series('2024-05-01'::timestamptz, '2024-05-31', '1 minute') t; ANALYZE mesh_six_events";

    #[tokio::test]
    async fn the_window_is_read_by_the_indexes() {
        let database = TestDatabase::new().await;
        owner::connect(database.url(), "test").await.unwrap().batch_execute(MONTH).await.unwrap();
        let db = Database::connect(DbConfig::new(database.app_url(), "test")).await.unwrap();
        let mut conn = db.conn().await.unwrap();
        let since: DateTime<Utc> = "2024-05-20T00:00:00Z".parse().unwrap();
        let hour = |agent: Option<&str>| StatsFilter {
            since: Some(since),
            until: Some(since + TimeDelta::hours(1)),
            agent_id: agent.map(str::to_owned),
            event_type: agent.map(|_| "llm.response".to_owned()),
        };
        let explain: &'static str = format!("EXPLAIN {BEGIN}").leak();
        for (filter, index) in [(hour(None), "Index"), (hour(Some("agent-3")), "_agent_id_event_type_timestamp_idx")] {
            let (since, until) = (filter.since.unwrap(), filter.until.unwrap());
            let plan: Vec<(String,)> =
                statement::<(Text,)>(explain, &filter, since, until).load(&mut conn).await.unwrap();
            let plan: Vec<String> = plan.into_iter().map(|(line,)| line).collect();
            let plan = plan.join("\n");
            assert!(plan.contains(index), "{plan}");
            assert!(!plan.contains("Seq Scan"), "{plan}");
            // No other month is looked at.
            assert!(!plan.contains("2024_06") && !plan.contains("default"), "{plan}");
            let found = stats(&mut conn, &filter).await.unwrap();
            assert_eq!(found.count, if filter.agent_id.is_some() { 6 } else { 60 });
        }
    }
}
