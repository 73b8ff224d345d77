DROP FUNCTION mesh_six_find_strays();
DROP FUNCTION mesh_six_first_id(timestamptz);
DROP TABLE mesh_six_event_strays;
