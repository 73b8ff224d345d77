-- Which months were dropped is known nowhere else.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM mesh_six_event_months) THEN
        RAISE EXCEPTION 'mesh_six_event_months has rows: a log of which months were exported or dropped is not reverted';
    END IF;
END
$$;
DROP FUNCTION mesh_six_follow_txid(bigint);
DROP FUNCTION mesh_six_repair_default();
DROP TABLE mesh_six_event_months;
