-- 125,000 tasks of eight events each, over the last sixty days; 1,000,000 rows with their keys. Some types and agents
-- are rare, some are to be found only at the beginning or at the end.
SELECT mesh_six_ensure_partitions(2, now() - interval '2 months');

CREATE TEMP TABLE tasks AS
SELECT t, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(t::text), 1, 3) || '8'
        || substr(md5(t::text), 4, 15))::uuid AS task,
    md5('trace ' || t)::uuid AS trace, 'agent-' || t % 11 AS agent, md5('answer ' || t) AS hash
FROM (SELECT t, date_trunc('milliseconds', now()) - interval '60 days' + t * interval '41 seconds' AS at
    FROM generate_series(1, 125000) t) x;

INSERT INTO mesh_six_events (txid, timestamp, occurred_at, id, trace_id, task_id, agent_id, event_type, payload,
    idempotency_key)
SELECT t, at + k * interval '1 ms', at + k * interval '1 ms', gen_random_uuid(), trace, task,
    CASE WHEN k IN (0, 1, 7) THEN 'orchestrator' WHEN k = 6 AND t > 124500 THEN 'agent-new' ELSE agent END,
    CASE
        WHEN k = 4 AND t % 5000 = 7 THEN 'approval.requested'
        WHEN k = 6 AND t > 124000 THEN 'test.late'
        WHEN k = 6 AND t <= 3000 THEN 'test.early'
        ELSE (ARRAY['task.submitted', 'task.dispatched', 'llm.call', 'llm.response', 'tool.invocation', 'task.result',
            'task.progress', 'task.completed'])[k + 1]
    END,
    CASE k
        WHEN 0 THEN jsonb_build_object('capability', 'general-query', 'priority', 5, 'timeout', 60, 'requestedBy',
            'tests', 'payloadLength', 30)
        WHEN 1 THEN jsonb_build_object('capability', 'general-query', 'targetAgent', agent, 'attempt', 1, 'priority',
            5, 'scores', '[]'::jsonb)
        WHEN 5 THEN jsonb_build_object('success', true, 'capability', 'general-query', 'attempt', 1, 'durationMs', 12,
            'resultHash', hash, 'usage', '{}'::jsonb)
        WHEN 7 THEN jsonb_build_object('attempts', 1, 'agentId', agent, 'durationMs', 20, 'resultHash', hash)
        ELSE jsonb_build_object('attempt', 1, 'model', 'stub', 'note', repeat('x', 200))
    END,
    CASE k WHEN 0 THEN 'submit:' || task WHEN 1 THEN 'dispatch:' || task || ':1' WHEN 5 THEN 'result:' || task || ':1:'
        || agent WHEN 7 THEN 'end:' || task END
FROM tasks, generate_series(0, 7) k;

INSERT INTO mesh_six_event_keys (bucket, key_hash, event_id)
SELECT to_char(at AT TIME ZONE 'UTC', 'YYYYMM')::integer, md5(task::text || k)::uuid, gen_random_uuid()
FROM tasks, generate_series(1, 4) k;

SELECT mesh_six_find_strays();
SELECT mesh_six_follow_txid(125000);
VACUUM (ANALYZE) mesh_six_events;
