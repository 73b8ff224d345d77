-- Retention: which months were exported and dropped; repair of the default partition; the order after an import.

-- One row for each partition that was exported or dropped, by its first month (YYYYMM). Only the owner writes it.
CREATE TABLE mesh_six_event_months (
    month integer PRIMARY KEY,
    exported_rows bigint,
    exported_bytes bigint,
    exported_sha256 text,
    exported_at timestamptz,
    dropped_rows bigint,
    dropped_at timestamptz,
    -- The last event of a dropped month: positions before it have lost events.
    last_txid bigint,
    last_seq bigint
);
GRANT SELECT ON mesh_six_event_months TO mesh_six_app;

-- Gives the rows of the default partition partitions of their own without deleting any: the whole table becomes the
-- partition of the months that it spans, named after the first, and a new default takes its place. Where another
-- partition lies between those months, the rows are copied month by month instead. Returns the new partitions.
CREATE FUNCTION mesh_six_repair_default() RETURNS SETOF text LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' SET timezone = 'UTC' AS $$
DECLARE
    first timestamp;
    beyond timestamp;
    month timestamp;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('mesh_six_partitions', 0));
    LOCK TABLE public.mesh_six_events IN ACCESS EXCLUSIVE MODE;
    SELECT date_trunc('month', min(e.timestamp) AT TIME ZONE 'UTC'),
            date_trunc('month', max(e.timestamp) AT TIME ZONE 'UTC') + interval '1 month'
        INTO first, beyond FROM public.mesh_six_events_default e;
    IF first IS NULL THEN
        RETURN;
    END IF;
    ALTER TABLE public.mesh_six_events DETACH PARTITION public.mesh_six_events_default;
    ALTER TABLE public.mesh_six_events_default RENAME TO mesh_six_events_stray;
    CREATE TABLE public.mesh_six_events_default (LIKE public.mesh_six_events INCLUDING ALL);
    ALTER TABLE public.mesh_six_events ATTACH PARTITION public.mesh_six_events_default DEFAULT;
    PERFORM public.mesh_six_guard('public.mesh_six_events_default');
    GRANT SELECT ON public.mesh_six_events_default TO mesh_six_app;
    IF NOT EXISTS (
        SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
            LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS bounds) b
        WHERE i.inhparent = 'public.mesh_six_events'::regclass
            AND substring(b.bounds FROM 'FROM \(''([^'']+)''')::timestamptz < beyond
            AND substring(b.bounds FROM 'TO \(''([^'']+)''')::timestamptz > first
    ) THEN
        name := 'mesh_six_events_' || to_char(first, 'YYYY_MM');
        EXECUTE format('ALTER TABLE public.mesh_six_events_stray RENAME TO %I', name);
        EXECUTE format('ALTER TABLE public.mesh_six_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
            name, first::text || '+00', beyond::text || '+00');
        RETURN NEXT name;
        RETURN;
    END IF;
    FOR month IN SELECT DISTINCT date_trunc('month', e.timestamp AT TIME ZONE 'UTC')
            FROM public.mesh_six_events_stray e ORDER BY 1 LOOP
        name := 'mesh_six_events_' || to_char(month, 'YYYY_MM');
        EXECUTE format('CREATE TABLE public.%I (LIKE public.mesh_six_events INCLUDING ALL)', name);
        EXECUTE format('INSERT INTO public.%I SELECT * FROM public.mesh_six_events_stray e
            WHERE e.timestamp >= %L AND e.timestamp < %L',
            name, month::text || '+00', (month + interval '1 month')::text || '+00');
        EXECUTE format('ALTER TABLE public.mesh_six_events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
            name, month::text || '+00', (month + interval '1 month')::text || '+00');
        PERFORM public.mesh_six_guard(('public.' || name)::regclass);
        RETURN NEXT name;
    END LOOP;
    DROP TABLE public.mesh_six_events_stray;
END
$$;

-- After an import: raises the offset of transaction ids, where needed, so that new events follow `last`. The caller
-- keeps writers out.
CREATE FUNCTION mesh_six_follow_txid(last bigint) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    raised bigint;
BEGIN
    IF public.mesh_six_current_txid() > last THEN
        RETURN;
    END IF;
    SELECT s.txid_offset + (div(last - public.mesh_six_current_txid(), 1000000000000) + 1)::bigint * 1000000000000
        INTO STRICT raised FROM public.mesh_six_log_server s;
    UPDATE public.mesh_six_log_server SET txid_offset = raised;
    EXECUTE format('CREATE OR REPLACE FUNCTION public.mesh_six_current_txid() RETURNS bigint LANGUAGE sql STABLE PARALLEL RESTRICTED
        AS ''SELECT pg_catalog.pg_current_xact_id()::text::bigint + %s''', raised);
    EXECUTE format('CREATE OR REPLACE FUNCTION public.mesh_six_horizon() RETURNS bigint LANGUAGE sql STABLE PARALLEL RESTRICTED
        AS ''SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint + %s''', raised);
END
$$;

REVOKE ALL ON FUNCTION mesh_six_repair_default(), mesh_six_follow_txid(bigint) FROM PUBLIC;
