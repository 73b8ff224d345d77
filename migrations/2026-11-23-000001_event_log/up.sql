-- The event log: one immutable, ordered table, partitioned by month; its keys; its roles.

-- Roles belong to the whole server, so another database's migration may make them at the same time.
DO $$
BEGIN
    CREATE ROLE mesh_six_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
GRANT USAGE ON SCHEMA public TO mesh_six_app;

-- So that the application can tell who holds the tail's horizon back. Not every owner may grant this; without it
-- the age of the horizon is told, but not its holder.
DO $$
BEGIN
    IF NOT pg_has_role('mesh_six_app', 'pg_read_all_stats', 'MEMBER') THEN
        GRANT pg_read_all_stats TO mesh_six_app;
    END IF;
EXCEPTION WHEN insufficient_privilege OR unique_violation OR internal_error THEN
    NULL;
END
$$;

-- Transaction ids start anew on a restored or promoted server, positions must not: the offset is added to
-- each. It is written into the two functions below as a constant, so that they are inlined and cost nothing.
CREATE TABLE mesh_six_log_server (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    system_identifier bigint NOT NULL,
    timeline_id integer NOT NULL,
    txid_offset bigint NOT NULL
);

CREATE FUNCTION mesh_six_current_txid() RETURNS bigint LANGUAGE sql STABLE PARALLEL RESTRICTED
AS 'SELECT pg_catalog.pg_current_xact_id()::text::bigint + 0';

-- Rows with a txid below this are all committed or gone, and no more will come.
CREATE FUNCTION mesh_six_horizon() RETURNS bigint LANGUAGE sql STABLE PARALLEL RESTRICTED
AS 'SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint + 0';

CREATE SEQUENCE mesh_six_events_seq AS bigint;

CREATE TABLE mesh_six_events (
    seq bigint NOT NULL DEFAULT nextval('mesh_six_events_seq'),
    txid bigint NOT NULL DEFAULT mesh_six_current_txid(),
    timestamp timestamptz NOT NULL DEFAULT now(),
    occurred_at timestamptz NOT NULL,
    id uuid NOT NULL,
    trace_id uuid NOT NULL,
    task_id uuid,
    agent_id text NOT NULL,
    event_type text NOT NULL,
    event_version integer NOT NULL DEFAULT 1,
    payload jsonb NOT NULL,
    aggregate_id text,
    idempotency_key text,
    PRIMARY KEY (txid, seq, timestamp)
) PARTITION BY RANGE (timestamp);
ALTER SEQUENCE mesh_six_events_seq OWNED BY mesh_six_events.seq;

CREATE INDEX mesh_six_events_trace ON mesh_six_events (trace_id, seq);
CREATE INDEX mesh_six_events_task ON mesh_six_events (task_id, seq) WHERE task_id IS NOT NULL;
CREATE INDEX mesh_six_events_aggregate ON mesh_six_events (aggregate_id, seq) WHERE aggregate_id IS NOT NULL;
CREATE INDEX mesh_six_events_agent_type ON mesh_six_events (agent_id, event_type, timestamp DESC);
CREATE INDEX mesh_six_events_time ON mesh_six_events USING brin (timestamp);

CREATE FUNCTION mesh_six_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is immutable: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Per table, not cloned from the parent: cloned triggers vanish when a partition is detached.
CREATE FUNCTION mesh_six_guard(guarded regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
        FOR EACH STATEMENT EXECUTE FUNCTION mesh_six_refuse_change()', guarded);
END
$$;
SELECT mesh_six_guard('mesh_six_events');

-- The safety net; a row in it is an alarm.
CREATE TABLE mesh_six_events_default PARTITION OF mesh_six_events DEFAULT;
SELECT mesh_six_guard('mesh_six_events_default');

-- A unique index on a partitioned table must hold the partition key, so keys have a table of their own.
-- Its partitions are buckets: the month that the key itself tells (YYYYMM), or 0.
CREATE TABLE mesh_six_event_keys (
    bucket integer NOT NULL,
    key_hash uuid NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (bucket, key_hash)
) PARTITION BY LIST (bucket);
CREATE TABLE mesh_six_event_keys_0 PARTITION OF mesh_six_event_keys FOR VALUES IN (0);

-- Content that an operator opted in to keep. Deletable, unlike the log, which holds its length and hash.
CREATE TABLE event_contents (
    event_id uuid PRIMARY KEY,
    task_id uuid,
    user_id text,
    month integer NOT NULL,
    kind text NOT NULL,
    content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_contents_task ON event_contents (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX event_contents_user ON event_contents (user_id) WHERE user_id IS NOT NULL;

-- Makes the partitions of the month of `from_time` and of the `months_ahead` months after it, and the key
-- buckets of the same months and the month before. Harmless when repeated and in parallel. Returns how many
-- partitions it made.
-- ATTACH, unlike CREATE ... PARTITION OF, does not lock the parent against readers and writers.
-- A month of which the default partition holds rows cannot be made; it is left out, so that the others are made.
CREATE FUNCTION mesh_six_ensure_partitions(months_ahead integer DEFAULT 3, from_time timestamptz DEFAULT now())
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET lock_timeout = '3s' SET timezone = 'UTC' AS $$
DECLARE
    made integer := 0;
    month timestamp;
    name text;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'months_ahead must be from 0 to 120, not %', months_ahead USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('mesh_six_partitions', 0));
    FOR ahead IN -1 .. months_ahead LOOP
        month := date_trunc('month', from_time AT TIME ZONE 'UTC') + make_interval(months => ahead);
        name := 'mesh_six_event_keys_' || to_char(month, 'YYYYMM');
        IF to_regclass('public.' || name) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.mesh_six_event_keys INCLUDING ALL)', name);
            EXECUTE format('ALTER TABLE public.mesh_six_event_keys ATTACH PARTITION public.%I FOR VALUES IN (%s)',
                name, to_char(month, 'YYYYMM'));
            made := made + 1;
        END IF;
        name := 'mesh_six_events_' || to_char(month, 'YYYY_MM');
        IF ahead >= 0 AND to_regclass('public.' || name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE TABLE public.%I (LIKE public.mesh_six_events INCLUDING ALL)', name);
                EXECUTE format('ALTER TABLE public.mesh_six_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                    name, to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                    to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
                PERFORM public.mesh_six_guard(('public.' || name)::regclass);
                made := made + 1;
            EXCEPTION WHEN check_violation THEN
                RAISE WARNING 'partition % is not made: the default partition holds rows of its month', name;
            WHEN invalid_object_definition THEN
                -- A partition that was the default one spans this month.
                NULL;
            END;
        END IF;
    END LOOP;
    RETURN made;
END
$$;

-- Every writer calls this when it connects. On a server that is not the one of the last call (restored from a
-- dump, or promoted), the offset is raised with writers locked out, so that new positions follow all old ones.
-- Returns whether it was raised. The timeline is read from the WAL's name, since the control file lags behind a
-- promotion until the next checkpoint.
CREATE FUNCTION mesh_six_adopt_server() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    here record;
    noted public.mesh_six_log_server;
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN false;
    END IF;
    SELECT s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer AS timeline_id
        INTO here FROM pg_control_system() s;
    SELECT * INTO noted FROM public.mesh_six_log_server;
    IF noted.system_identifier = here.system_identifier AND noted.timeline_id = here.timeline_id THEN
        RETURN false;
    END IF;
    LOCK TABLE public.mesh_six_events IN EXCLUSIVE MODE;
    SELECT * INTO noted FROM public.mesh_six_log_server;
    IF noted.system_identifier = here.system_identifier AND noted.timeline_id = here.timeline_id THEN
        RETURN false;
    END IF;
    IF noted IS NULL THEN
        INSERT INTO public.mesh_six_log_server (system_identifier, timeline_id, txid_offset)
            VALUES (here.system_identifier, here.timeline_id, 0);
        RETURN false;
    END IF;
    noted.txid_offset := noted.txid_offset + 1000000000000;
    UPDATE public.mesh_six_log_server SET system_identifier = here.system_identifier,
        timeline_id = here.timeline_id, txid_offset = noted.txid_offset;
    EXECUTE format('CREATE OR REPLACE FUNCTION public.mesh_six_current_txid() RETURNS bigint LANGUAGE sql STABLE PARALLEL RESTRICTED
        AS ''SELECT pg_catalog.pg_current_xact_id()::text::bigint + %s''', noted.txid_offset);
    EXECUTE format('CREATE OR REPLACE FUNCTION public.mesh_six_horizon() RETURNS bigint LANGUAGE sql STABLE PARALLEL RESTRICTED
        AS ''SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint + %s''', noted.txid_offset);
    RETURN true;
END
$$;

SELECT mesh_six_adopt_server();
SELECT mesh_six_ensure_partitions();

-- The application may add events and read them; their order, transaction and time are the database's.
REVOKE ALL ON FUNCTION mesh_six_guard(regclass), mesh_six_ensure_partitions(integer, timestamptz), mesh_six_adopt_server()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mesh_six_ensure_partitions(integer, timestamptz), mesh_six_adopt_server() TO mesh_six_app;
GRANT USAGE ON SEQUENCE mesh_six_events_seq TO mesh_six_app;
GRANT SELECT, INSERT (occurred_at, id, trace_id, task_id, agent_id, event_type, event_version, payload, aggregate_id,
    idempotency_key) ON mesh_six_events TO mesh_six_app;
-- The safety net is counted by itself.
GRANT SELECT ON mesh_six_events_default TO mesh_six_app;
GRANT SELECT, INSERT ON mesh_six_event_keys TO mesh_six_app;
GRANT SELECT, INSERT, DELETE ON event_contents TO mesh_six_app;
GRANT SELECT ON mesh_six_log_server, __diesel_schema_migrations TO mesh_six_app;
