//! The agents and services.toml say the same.

use mesh_six_core::roster::{self, Kind, SERVICES};

#[test]
fn what_services_toml_calls_built_is_built_and_nothing_else() {
    for service in SERVICES.iter().filter(|s| s.kind == Kind::Agent) {
        assert_eq!(mesh_six_agents::find(service.name).is_some(), service.built, "{}", service.name);
    }
    for name in mesh_six_agents::names() {
        assert!(roster::find(name).is_some_and(|s| s.kind == Kind::Agent), "{name} is no agent of services.toml");
    }
    assert!(mesh_six_agents::find("orchestrator").is_none());
}

#[test]
fn names_capabilities_and_weights_agree() {
    for name in mesh_six_agents::names() {
        let service = roster::find(name).unwrap();
        let definition = mesh_six_agents::find(name).unwrap().definition();
        assert_eq!((definition.app_id.as_str(), definition.name.as_str()), (service.name, service.title));
        let built: Vec<_> = definition.capabilities.iter().map(|c| (c.name.as_str(), c.weight, c.preferred)).collect();
        let listed: Vec<_> = service.capabilities.iter().map(|c| (c.name, c.weight, c.preferred)).collect();
        assert_eq!(built, listed, "{name}");
        assert!(service.subscribes.contains(&format!("tasks.{name}").as_str()), "{name}");
    }
}
