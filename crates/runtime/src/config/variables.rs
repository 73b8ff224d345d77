//! Every variable that a service reads, as one table for the README and the command line.

/// A variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds where it is not set.
    pub default: &'static str,
    /// What it is for, in one line.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// All variables, in the order in which a reader wants them.
pub const VARIABLES: [Variable; 25] = [
    variable("AGENT_ID", "the service's name", "app-id of this service, as its Dapr sidecar knows it"),
    variable("AGENT_NAME", "the service's title", "name shown to people"),
    variable(
        "APP_HOST",
        "0.0.0.0",
        "address to listen on; one that is not loopback needs API_TOKEN or ALLOW_ANONYMOUS",
    ),
    variable("APP_PORT", "3000", "port to listen on"),
    variable("API_TOKEN", "", "bearer token that callers of the public API must send"),
    variable("ALLOW_ANONYMOUS", "false", "true: serve the public API without a token on any address"),
    variable("DAPR_HOST", "localhost", "host of the Dapr sidecar"),
    variable("DAPR_HTTP_PORT", "3500", "HTTP port of the Dapr sidecar"),
    variable("APP_API_TOKEN", "", "token that the Dapr sidecar sends with each delivery; others are refused"),
    variable("DAPR_API_TOKEN", "", "token that the Dapr sidecar wants from this service"),
    variable("DRAIN_SECONDS", "20", "how long an agent's requests in flight may go on after SIGTERM, 0 to 900"),
    variable("DATABASE_URL", "PG_PRIMARY_URL", "PostgreSQL of event log and tasks"),
    variable("PG_PRIMARY_URL", "", "used where DATABASE_URL is not set; with neither there is no event log"),
    variable("DATABASE_DIRECT_URL", "DATABASE_URL", "the same database past any pooler, for LISTEN and migrations"),
    variable(
        "MQTT_URL",
        "",
        "broker that the dashboard listens to, such as mqtt://host:1883; without it nothing is told",
    ),
    variable("MQTT_USERNAME", "", "user at that broker"),
    variable("MQTT_PASSWORD", "", "password at that broker"),
    variable("LITELLM_BASE_URL", "", "OpenAI-compatible endpoint, up to and including /v1"),
    variable("LITELLM_API_KEY", "sk-local", "key for that endpoint"),
    variable("LLM_MODEL", mesh_six_llm::DEFAULT_MODEL, "name of the model"),
    variable("LLM_OFFLINE", "false", "true: answer without a model, and say so in each answer"),
    variable(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        "false",
        "true: keep prompts and answers beside the event log",
    ),
    variable("OTEL_EXPORTER_OTLP_ENDPOINT", "", "OTLP receiver (HTTP, protobuf) for traces; without it none are sent"),
    variable("LOG", "RUST_LOG, else info", "which log lines are written, in tracing's filter syntax"),
    variable("RUST_LOG", "info", "used where LOG is not set"),
];
