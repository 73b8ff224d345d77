-- A trace's or task's events are nearly always of the month that its id tells, so a query by one of them reads that
-- month's partition alone. Where else there are some is noted here, in the transaction that writes them: without it
-- each query would have to look into every later partition.
CREATE TABLE mesh_six_event_strays (
    id uuid NOT NULL,
    -- Of the events' timestamps, UTC, as YYYYMM.
    month integer NOT NULL
);
-- Not unique: two transactions that note the same must not wait for each other.
CREATE INDEX mesh_six_event_strays_id ON mesh_six_event_strays (id, month);
GRANT SELECT, INSERT ON mesh_six_event_strays TO mesh_six_app;

-- The lowest UUIDv7 of the month of a moment.
CREATE FUNCTION mesh_six_first_id(moment timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT (lpad(to_hex((extract(epoch FROM date_trunc('month', moment, 'UTC')) * 1000)::bigint), 12, '0')
    || repeat('0', 20))::uuid $$;

-- Notes the strays of all rows: after rows came by other ways than the application's statement.
CREATE FUNCTION mesh_six_find_strays() RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, public, pg_temp AS $$
    WITH noted AS (
        INSERT INTO public.mesh_six_event_strays (id, month)
        SELECT a.id, m.number FROM (
            SELECT e.trace_id AS id, date_trunc('month', e.timestamp, 'UTC') AS begins FROM public.mesh_six_events e
            UNION
            SELECT e.task_id, date_trunc('month', e.timestamp, 'UTC') FROM public.mesh_six_events e
            UNION
            SELECT substring(e.aggregate_id FROM '^task:(.{36})$')::uuid, date_trunc('month', e.timestamp, 'UTC')
                FROM public.mesh_six_events e
                WHERE e.aggregate_id ~ '^task:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        ) a
        CROSS JOIN LATERAL (SELECT to_char(a.begins AT TIME ZONE 'UTC', 'YYYYMM')::integer AS number) m
        WHERE get_byte(uuid_send(a.id), 6) >> 4 = 7
            AND NOT (a.id >= public.mesh_six_first_id(a.begins) AND a.id < public.mesh_six_first_id(a.begins + interval '32 days'))
            AND NOT EXISTS (SELECT FROM public.mesh_six_event_strays s WHERE s.id = a.id AND s.month = m.number)
        RETURNING 1
    )
    SELECT count(*) FROM noted
$$;
REVOKE ALL ON FUNCTION mesh_six_find_strays() FROM PUBLIC;
SELECT mesh_six_find_strays();
