-- An immutable log is not dropped while it holds anything. The role stays: it belongs to the whole server.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM mesh_six_events) THEN
        RAISE EXCEPTION 'mesh_six_events has rows: a log with events is not reverted';
    END IF;
END
$$;
DROP TABLE event_contents;
DROP TABLE mesh_six_event_keys;
DROP TABLE mesh_six_events;
DROP TABLE mesh_six_log_server;
DROP FUNCTION mesh_six_adopt_server();
DROP FUNCTION mesh_six_ensure_partitions(integer, timestamptz);
DROP FUNCTION mesh_six_guard(regclass);
DROP FUNCTION mesh_six_refuse_change();
DROP FUNCTION mesh_six_horizon();
DROP FUNCTION mesh_six_current_txid();
REVOKE SELECT ON __diesel_schema_migrations FROM mesh_six_app;
REVOKE USAGE ON SCHEMA public FROM mesh_six_app;
