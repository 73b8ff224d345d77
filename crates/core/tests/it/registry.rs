//! Criterion M1.5: the registry's rules, and the roster of services.toml.

use std::collections::BTreeMap;

use chrono::Duration;
use mesh_six_core::{
    Validate,
    agent::{AgentCapability, AgentRegistration, AgentStatus, MAX_LISTED},
    roster, time,
};
use proptest::prelude::*;

use crate::support::now;

fn agent(status: AgentStatus, last_heartbeat: String) -> AgentRegistration {
    AgentRegistration {
        name: "Simple Agent".to_owned(),
        app_id: "simple-agent".to_owned(),
        capabilities: vec![AgentCapability::new("general-query", 0.8)],
        status,
        health_checks: BTreeMap::new(),
        last_heartbeat,
        metadata: None,
    }
}

fn status_after(reported: AgentStatus, ms: i64) -> AgentStatus {
    agent(reported, time::format(now() - Duration::milliseconds(ms))).status_at(now())
}

#[test]
fn m1_5_status_by_the_age_of_the_heartbeat() {
    use AgentStatus::{Degraded, Offline, Online};
    for (reported, ms, want) in [
        (Online, 0, Online),
        (Online, 60_000, Online),
        (Online, 60_001, Degraded),
        (Online, 120_000, Degraded),
        (Online, 120_001, Offline),
        (Degraded, 0, Degraded),
        (Degraded, 120_000, Degraded),
        (Degraded, 120_001, Offline),
        (Offline, 0, Offline),
    ] {
        assert_eq!(status_after(reported, ms), want, "{reported:?} after {ms} ms");
    }
}

#[test]
fn m1_5_an_unreadable_heartbeat_is_offline() {
    for bad in ["", "yesterday", "1700000000", "2026-13-01T00:00:00Z", "2026-11-23T04:43:04"] {
        assert_eq!(agent(AgentStatus::Online, bad.to_owned()).status_at(now()), AgentStatus::Offline, "{bad}");
    }
}

#[test]
fn m1_5_a_registration_names_the_capability_that_is_wrong() {
    let mut agent = agent(AgentStatus::Online, time::format(now()));
    assert!(agent.validate().is_ok());
    agent.capabilities.push(AgentCapability::new("x", 1.2));
    assert_eq!(agent.validate().unwrap_err().field.as_deref(), Some("capabilities[1].weight"));
    agent.app_id = String::new();
    assert_eq!(agent.validate().unwrap_err().field.as_deref(), Some("appId"));
}

#[test]
fn a_registration_lists_no_more_than_can_be_looked_at_for_every_task() {
    let names = |many: usize| (0..many).map(|n| format!("n{n}"));
    let of = |capabilities: usize, requirements: usize, checks: usize| {
        let mut agent = agent(AgentStatus::Online, time::format(now()));
        agent.capabilities = names(capabilities).map(|name| AgentCapability::new(name, 0.5)).collect();
        agent.capabilities[1].requirements = names(requirements).collect();
        agent.health_checks = names(checks).map(|name| (name, "http://simple-agent/".to_owned())).collect();
        agent.validate().map_err(|error| error.field)
    };
    assert_eq!(of(MAX_LISTED, MAX_LISTED, MAX_LISTED), Ok(()));
    for (capabilities, requirements, checks, field) in [
        (MAX_LISTED + 1, 0, 0, "capabilities"),
        (2, MAX_LISTED + 1, 0, "capabilities[1].requirements"),
        (2, 0, MAX_LISTED + 1, "healthChecks"),
    ] {
        assert_eq!(of(capabilities, requirements, checks), Err(Some(field.to_owned())));
    }
}

#[test]
fn the_roster_has_sixteen_services_with_legal_capabilities() {
    assert_eq!(roster::SERVICES.len(), 16);
    let built: Vec<_> = roster::SERVICES.iter().filter(|s| s.built).map(|s| s.name).collect();
    insta::assert_json_snapshot!(built);
    for service in roster::SERVICES {
        assert_eq!(roster::find(service.name), Some(service));
        assert_eq!(service.kind == roster::Kind::Agent, !service.capabilities.is_empty(), "{}", service.name);
        for c in service.capabilities {
            assert!(AgentCapability::new(c.name, c.weight).validate().is_ok(), "{} of {}", c.name, service.name);
        }
    }
}

proptest! {
    #[test]
    fn m1_5_age_never_makes_an_agent_better(ms in -10_000_000..10_000_000_i64, more in 0..10_000_000_i64) {
        let rank = |s| match s { AgentStatus::Online => 0, AgentStatus::Degraded => 1, AgentStatus::Offline => 2 };
        for reported in [AgentStatus::Online, AgentStatus::Degraded, AgentStatus::Offline] {
            let (before, after) = (status_after(reported, ms), status_after(reported, ms + more));
            prop_assert!(rank(after) >= rank(before) && rank(before) >= rank(reported));
        }
    }
}
