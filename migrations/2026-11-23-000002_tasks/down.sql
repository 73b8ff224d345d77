DROP TABLE agent_task_history;
DROP TABLE dead_letters;
DROP TABLE agent_inbox;
DROP TABLE outbox;
DROP TABLE task_attempts;
DROP TABLE orchestrator_tasks;
