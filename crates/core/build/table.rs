//! Reads services.toml and says in one line what is wrong with it.

use std::collections::HashSet;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    service: Vec<Service>,
}

/// One entry, its fields as `Service` in roster.rs tells them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) purpose: String,
    pub(crate) kind: Kind,
    pub(crate) built: bool,
    pub(crate) port: u16,
    pub(crate) local_port: u16,
    #[serde(default)]
    pub(crate) capabilities: Vec<Capability>,
    #[serde(default)]
    pub(crate) subscribes: Vec<String>,
    #[serde(default)]
    pub(crate) environment: Vec<String>,
}

/// Named as the variants of `Kind` in roster.rs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Agent,
    Infrastructure,
    Ui,
    Command,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capability {
    pub(crate) name: String,
    pub(crate) weight: f64,
    #[serde(default)]
    pub(crate) preferred: bool,
}

/// The services in `text`, or why they cannot be used.
pub(crate) fn read(text: &str) -> Result<Vec<Service>, String> {
    let file: File = toml::from_str(text).map_err(|error| one_line(text, &error))?;
    let (mut names, mut ports) = (HashSet::new(), HashSet::new());
    for service in &file.service {
        let name = &service.name;
        if !is_name(name) {
            return Err(format!("services.toml: {name:?} must be lower-case letters, digits and hyphens"));
        }
        if !names.insert(name) {
            return Err(format!("services.toml: {name}: there are two services of this name"));
        }
        if !ports.insert(service.local_port) {
            return Err(format!("services.toml: {name}: local_port {} is another service's", service.local_port));
        }
        if service.port < 1024 {
            return Err(format!("services.toml: {name}: port {} needs rights that no service has", service.port));
        }
        if (service.kind == Kind::Agent) == service.capabilities.is_empty() {
            return Err(format!("services.toml: {name}: agents have capabilities, and nothing else has"));
        }
    }
    Ok(file.service)
}

/// A name that is also legal as name of a Kubernetes object.
fn is_name(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner && (1..=63).contains(&name.len()) && !name.starts_with('-') && !name.ends_with('-')
}

/// The parser's message with the line and the service that it is about.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
    let line = before.matches('\n').count() + 1;
    // An error about a whole entry, such as a missing field, points at the entry's header.
    let header = "[[service]]";
    let entry = if after.starts_with(header) { after } else { before.rfind(header).map_or("", |at| &text[at..]) };
    let name = entry.lines().find_map(|line| line.strip_prefix("name = "));
    let name = name.map(|name| format!("{}: ", name.trim_matches('"'))).unwrap_or_default();
    format!("services.toml, line {line}: {name}{}", error.message().replace('\n', " "))
}
