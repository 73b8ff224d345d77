//! `mesh-six agents`.

use std::process::ExitCode;

use mesh_six_core::{agent::AgentRegistration, scoring::AgentScoreCard};
use serde::Deserialize;

use crate::{cli::AgentsArgs, client::Client, output};

#[derive(Deserialize)]
struct Agents {
    agents: Vec<AgentRegistration>,
}

#[derive(Deserialize)]
struct Scores {
    scores: Vec<AgentScoreCard>,
}

/// Lists the agents, or the score table of one capability.
pub(crate) async fn run(args: AgentsArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(args.target)?;
    if let Some(capability) = args.score {
        let scores: Scores = client.get(&["api", "v1", "agents", "score", &capability]).await?;
        return print_scores(&capability, &scores.scores, args.output.json);
    }
    let agents: Agents = client.get(&["api", "v1", "agents"]).await?;
    if args.output.json {
        for agent in &agents.agents {
            output::json(agent)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = agents
        .agents
        .iter()
        .map(|a| {
            let can: Vec<_> = a.capabilities.iter().map(|c| format!("{} {}", c.name, c.weight)).collect();
            let status = serde_json::to_value(a.status).ok();
            let status = status.as_ref().and_then(|s| s.as_str()).unwrap_or_default().to_owned();
            let beat = a.last_heartbeat.get(11..19).unwrap_or("-").to_owned();
            vec![a.app_id.clone(), status, can.join(", "), beat]
        })
        .collect();
    output::table::print_or("no agents yet", &["AGENT", "STATUS", "CAPABILITIES", "HEARTBEAT (UTC)"], rows)?;
    Ok(ExitCode::SUCCESS)
}

fn print_scores(capability: &str, scores: &[AgentScoreCard], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        for card in scores {
            output::json(card)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = scores
        .iter()
        .map(|c| {
            vec![
                c.agent_id.clone(),
                format!("{:.3}", c.final_score),
                format!("{:.2}", c.base_weight),
                format!("{:.0}", c.dependency_health),
                format!("{:.3}", c.rolling_success_rate),
                format!("{:.1}", c.recency_boost),
                c.in_flight.to_string(),
            ]
        })
        .collect();
    let nothing = format!("no agent can do {capability}");
    let header = ["AGENT", "SCORE", "WEIGHT", "HEALTH", "RATE", "BOOST", "IN FLIGHT"];
    output::table::print_or(&nothing, &header, rows)?;
    Ok(ExitCode::SUCCESS)
}
