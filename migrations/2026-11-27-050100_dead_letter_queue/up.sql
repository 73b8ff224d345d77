-- Dead letters as a queue: an id that people can type, when somebody decided, and a way back through the outbox.

-- Made of the letter's key, each part with its length before it, so that it is the same wherever the key is. Declared
-- immutable, which convert_to is not because of encodings other than the one named here.
CREATE FUNCTION mesh_six_letter_id(app_id text, topic text, source text, id text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(encode(sha256(convert_to(
        length(app_id) || ':' || app_id || length(topic) || ':' || topic ||
        length(source) || ':' || source || length(id) || ':' || id, 'UTF8')), 'hex'), 32)
$$;

-- In the order of bytes, so that the beginning of an id finds it through the index.
ALTER TABLE dead_letters
    ADD COLUMN letter_id text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (mesh_six_letter_id(app_id, topic, source, id)) STORED,
    -- When it was replayed or discarded last.
    ADD COLUMN decided_at timestamptz;
CREATE INDEX dead_letters_letter ON dead_letters (letter_id);
CREATE INDEX dead_letters_newest ON dead_letters (last_at DESC, letter_id DESC);
-- Counted by these for the metrics.
CREATE INDEX dead_letters_waiting_by ON dead_letters (topic, app_id, first_at) WHERE state = 'waiting';

-- A row with this set sends that letter's envelope again; its own payload is empty, so that content is in one place
-- and can be erased there. Such rows have attempt 0, which no task has: a relay of the release before, which does not
-- know letters, takes them for messages of an attempt that has ended and leaves them alone.
ALTER TABLE outbox ADD COLUMN letter_id text COLLATE "C";
