ALTER TABLE agent_inbox DROP COLUMN traceparent;
