-- Seals: a hash chain over the event log, so that a change behind the application's back is found
-- (docs/seal-format.md).

CREATE TABLE mesh_six_event_seals (
    -- 1, 2, 3, ...: the chain's order, across months.
    number bigint PRIMARY KEY CHECK (number > 0),
    -- Of the rows' timestamps, UTC, as YYYYMM. Not the partition's name, since repairs rename partitions.
    month integer NOT NULL CHECK (month % 100 BETWEEN 1 AND 12),
    -- rows: seals a range. closed: no row of the month can come any more. dropped: its rows were dropped.
    kind text NOT NULL CHECK (kind IN ('rows', 'closed', 'dropped')),
    -- The range: after (from_txid, from_seq), up to and with (to_txid, to_seq).
    from_txid bigint NOT NULL,
    from_seq bigint NOT NULL,
    to_txid bigint NOT NULL,
    to_seq bigint NOT NULL,
    row_count bigint NOT NULL,
    rows_hash bytea NOT NULL CHECK (length(rows_hash) = 32),
    previous_hash bytea NOT NULL CHECK (length(previous_hash) = 32),
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- 20 bytes a row: txid, seq and the beginning of its content's hash. Where the rows do not give their hash, it
    -- tells which one is to blame.
    row_index bytea NOT NULL CHECK (length(row_index) = 20 * row_count),
    created_at timestamptz NOT NULL,
    CHECK ((from_txid, from_seq) <= (to_txid, to_seq)),
    CHECK ((kind = 'rows') = (row_count > 0))
);
CREATE INDEX mesh_six_event_seals_month ON mesh_six_event_seals (month, number);
SELECT mesh_six_guard('mesh_six_event_seals');

GRANT SELECT, INSERT ON mesh_six_event_seals TO mesh_six_app;
