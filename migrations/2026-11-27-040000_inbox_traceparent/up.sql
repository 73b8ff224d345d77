-- The span whose child the row's next step is: what delivered the request, later what worked on it.
ALTER TABLE agent_inbox ADD COLUMN traceparent text;
