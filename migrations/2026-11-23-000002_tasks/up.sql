-- Tasks on their way: the orchestrator's table, attempts, outbox, the agents' inbox, dead letters, history.

CREATE TABLE orchestrator_tasks (
    task_id uuid PRIMARY KEY,
    -- The caller's Idempotency-Key: the same key gives the same task.
    client_key text UNIQUE,
    capability text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    priority integer NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 10),
    timeout_seconds integer NOT NULL DEFAULT 120 CHECK (timeout_seconds BETWEEN 1 AND 900),
    requested_by text NOT NULL,
    user_id text,
    trace_id uuid NOT NULL,
    traceparent text,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'dispatched', 'completed', 'failed', 'cancelled')),
    dispatched_to text,
    dispatched_at timestamptz,
    score double precision,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 3),
    tried_agents text[] NOT NULL DEFAULT '{}',
    -- When the open attempt ends (dispatched), or when the next one may begin (pending).
    deadline_at timestamptz,
    result jsonb,
    result_hash text,
    error jsonb,
    usage jsonb,
    claimed_by uuid,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX orchestrator_tasks_status ON orchestrator_tasks (status, created_at DESC);
CREATE INDEX orchestrator_tasks_capability ON orchestrator_tasks (capability, created_at DESC);
CREATE INDEX orchestrator_tasks_created ON orchestrator_tasks (created_at DESC);
CREATE INDEX orchestrator_tasks_due ON orchestrator_tasks (deadline_at) WHERE status IN ('pending', 'dispatched');

CREATE TABLE task_attempts (
    task_id uuid NOT NULL REFERENCES orchestrator_tasks ON DELETE CASCADE,
    attempt integer NOT NULL CHECK (attempt >= 1),
    agent_id text NOT NULL,
    dispatched_at timestamptz NOT NULL DEFAULT now(),
    deadline_at timestamptz NOT NULL,
    outcome text CHECK (outcome IN ('success', 'failed', 'timeout', 'unavailable', 'cancelled')),
    ended_at timestamptz,
    PRIMARY KEY (task_id, attempt)
);
CREATE INDEX task_attempts_open ON task_attempts (agent_id, deadline_at) WHERE outcome IS NULL;

-- Messages to be published, at least once, by whoever holds the lease.
CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    payload jsonb NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}',
    task_id uuid,
    attempt integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    claimed_by uuid,
    lease_until timestamptz,
    tries integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);
CREATE INDEX outbox_due ON outbox (next_at) WHERE sent_at IS NULL;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX outbox_task ON outbox (task_id, attempt) WHERE task_id IS NOT NULL;

-- What an agent has accepted; its replicas share it.
CREATE TABLE agent_inbox (
    task_id uuid NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 1),
    agent_id text NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'published')),
    priority integer NOT NULL DEFAULT 5,
    request jsonb NOT NULL,
    deadline_at timestamptz NOT NULL,
    -- The whole TaskResult.
    result jsonb,
    result_hash text,
    -- The attempt had already ended when the result was written.
    late boolean NOT NULL DEFAULT false,
    -- The orchestrator has seen the result.
    taken_at timestamptz,
    claimed_by uuid,
    lease_until timestamptz,
    tries integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (task_id, attempt, agent_id)
);
CREATE INDEX agent_inbox_queued ON agent_inbox (agent_id, priority DESC, created_at) WHERE state = 'queued';
CREATE INDEX agent_inbox_running ON agent_inbox (lease_until) WHERE state = 'running';
CREATE INDEX agent_inbox_unpublished ON agent_inbox (agent_id, next_at) WHERE state = 'done';
CREATE INDEX agent_inbox_untaken ON agent_inbox (finished_at) WHERE result IS NOT NULL AND taken_at IS NULL;
CREATE INDEX agent_inbox_created ON agent_inbox (created_at);

-- Messages that failed for good: a queue that is read and replayed, never a bin.
CREATE TABLE dead_letters (
    app_id text NOT NULL,
    topic text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    envelope bytea NOT NULL,
    reason text NOT NULL,
    tries integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'replayed', 'discarded')),
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app_id, topic, source, id)
);
CREATE INDEX dead_letters_message ON dead_letters (topic, source, id);
CREATE INDEX dead_letters_waiting ON dead_letters (first_at) WHERE state = 'waiting';

-- One row per finished attempt: what scoring learns from.
CREATE TABLE agent_task_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id uuid NOT NULL,
    attempt integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    agent_id text NOT NULL,
    capability text NOT NULL,
    success boolean NOT NULL,
    duration_ms bigint CHECK (duration_ms >= 0),
    error_type text,
    context jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (task_id, attempt)
);
CREATE INDEX agent_task_history_score ON agent_task_history (agent_id, capability, created_at DESC);
CREATE INDEX agent_task_history_created ON agent_task_history (created_at DESC);
CREATE INDEX agent_task_history_errors ON agent_task_history (error_type) WHERE error_type IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON orchestrator_tasks, task_attempts, outbox, agent_inbox, dead_letters,
    agent_task_history TO mesh_six_app;
