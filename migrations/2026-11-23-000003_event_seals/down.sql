-- Seals vouch for the log, dropped months included: they are not dropped while there are any.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM mesh_six_event_seals) THEN
        RAISE EXCEPTION 'mesh_six_event_seals has rows: a log with seals is not reverted';
    END IF;
END
$$;
DROP TABLE mesh_six_event_seals;
