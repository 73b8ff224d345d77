//! The tables as diesel sees them, in the order of the migrations. A test compares this with the database.
#![expect(missing_docs, reason = "the migrations say what each table and column is")]

diesel::table! {
    mesh_six_events (txid, seq, timestamp) {
        seq -> Int8,
        txid -> Int8,
        timestamp -> Timestamptz,
        occurred_at -> Timestamptz,
        id -> Uuid,
        trace_id -> Uuid,
        task_id -> Nullable<Uuid>,
        agent_id -> Text,
        event_type -> Text,
        event_version -> Int4,
        payload -> Jsonb,
        aggregate_id -> Nullable<Text>,
        idempotency_key -> Nullable<Text>,
    }
}

diesel::table! {
    mesh_six_event_keys (bucket, key_hash) {
        bucket -> Int4,
        key_hash -> Uuid,
        event_id -> Uuid,
    }
}

diesel::table! {
    event_contents (event_id) {
        event_id -> Uuid,
        task_id -> Nullable<Uuid>,
        user_id -> Nullable<Text>,
        month -> Int4,
        kind -> Text,
        content -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    orchestrator_tasks (task_id) {
        task_id -> Uuid,
        client_key -> Nullable<Text>,
        capability -> Text,
        payload -> Jsonb,
        priority -> Int4,
        timeout_seconds -> Int4,
        requested_by -> Text,
        user_id -> Nullable<Text>,
        trace_id -> Uuid,
        traceparent -> Nullable<Text>,
        status -> Text,
        dispatched_to -> Nullable<Text>,
        dispatched_at -> Nullable<Timestamptz>,
        score -> Nullable<Float8>,
        attempts -> Int4,
        max_attempts -> Int4,
        tried_agents -> Array<Text>,
        deadline_at -> Nullable<Timestamptz>,
        result -> Nullable<Jsonb>,
        result_hash -> Nullable<Text>,
        error -> Nullable<Jsonb>,
        usage -> Nullable<Jsonb>,
        claimed_by -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    task_attempts (task_id, attempt) {
        task_id -> Uuid,
        attempt -> Int4,
        agent_id -> Text,
        dispatched_at -> Timestamptz,
        deadline_at -> Timestamptz,
        outcome -> Nullable<Text>,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    outbox (id) {
        id -> Uuid,
        topic -> Text,
        key -> Text,
        payload -> Jsonb,
        headers -> Jsonb,
        task_id -> Nullable<Uuid>,
        attempt -> Nullable<Int4>,
        created_at -> Timestamptz,
        claimed_by -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        tries -> Int4,
        next_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        letter_id -> Nullable<Text>,
    }
}

diesel::table! {
    agent_inbox (task_id, attempt, agent_id) {
        task_id -> Uuid,
        attempt -> Int4,
        agent_id -> Text,
        state -> Text,
        priority -> Int4,
        request -> Jsonb,
        deadline_at -> Timestamptz,
        result -> Nullable<Jsonb>,
        result_hash -> Nullable<Text>,
        late -> Bool,
        taken_at -> Nullable<Timestamptz>,
        claimed_by -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        tries -> Int4,
        next_at -> Timestamptz,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        traceparent -> Nullable<Text>,
    }
}

diesel::table! {
    dead_letters (app_id, topic, source, id) {
        app_id -> Text,
        topic -> Text,
        source -> Text,
        id -> Text,
        envelope -> Bytea,
        reason -> Text,
        tries -> Int4,
        state -> Text,
        first_at -> Timestamptz,
        last_at -> Timestamptz,
        letter_id -> Text,
        decided_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    agent_task_history (id) {
        id -> Uuid,
        task_id -> Uuid,
        attempt -> Int4,
        agent_id -> Text,
        capability -> Text,
        success -> Bool,
        duration_ms -> Nullable<Int8>,
        error_type -> Nullable<Text>,
        context -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    mesh_six_event_seals (number) {
        number -> Int8,
        month -> Int4,
        kind -> Text,
        from_txid -> Int8,
        from_seq -> Int8,
        to_txid -> Int8,
        to_seq -> Int8,
        row_count -> Int8,
        rows_hash -> Bytea,
        previous_hash -> Bytea,
        hash -> Bytea,
        row_index -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(orchestrator_tasks, task_attempts, agent_inbox);
