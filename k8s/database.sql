-- The database of the mesh, made once by a superuser: psql --file k8s/database.sql
-- The passwords are set apart, so that they stand in no file: \password mesh_six, \password mesh_six_owner
CREATE ROLE mesh_six_app NOLOGIN;
-- Owns the schema: migrations, partitions, seals.
CREATE ROLE mesh_six_owner LOGIN CREATEROLE;
-- The services: they may add events and read them, and do their work, and nothing else.
CREATE ROLE mesh_six LOGIN IN ROLE mesh_six_app;
-- As the services set them for each of their sessions, which a pooler in transaction mode does not keep: no transaction
-- may hold the log's readers back for more than a minute.
ALTER ROLE mesh_six SET statement_timeout = '30s';
ALTER ROLE mesh_six SET lock_timeout = '10s';
ALTER ROLE mesh_six SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE mesh_six SET timezone = 'UTC';
-- Grafana: the events, which hold neither prompts nor answers.
CREATE ROLE mesh_six_grafana LOGIN;
CREATE DATABASE mesh_six OWNER mesh_six_owner TEMPLATE template0 ENCODING 'UTF8';
\connect mesh_six
ALTER SCHEMA public OWNER TO mesh_six_owner;
