-- What was to be sent again and has not been waits again.
UPDATE dead_letters d SET state = 'waiting' FROM outbox o
    WHERE d.letter_id = o.letter_id AND o.sent_at IS NULL AND d.state = 'replayed';
DELETE FROM outbox WHERE letter_id IS NOT NULL;
ALTER TABLE outbox DROP COLUMN letter_id;
DROP INDEX dead_letters_waiting_by, dead_letters_newest, dead_letters_letter;
ALTER TABLE dead_letters DROP COLUMN decided_at, DROP COLUMN letter_id;
DROP FUNCTION mesh_six_letter_id(text, text, text, text);
