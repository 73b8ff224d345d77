//! Criterion M1.5: scoring gives every check value of the specification.

use mesh_six_core::{
    Validate,
    agent::{AgentCapability, AgentStatus},
    scoring::{AgentScoreCard, ScoreInput, eligible, rank, score},
};
use proptest::prelude::*;

fn card(agent: &str, weight: f64, preferred: bool, healthy: bool, history: &[bool]) -> AgentScoreCard {
    let capability = AgentCapability { preferred, ..AgentCapability::new("deploy-service", weight) };
    score(&ScoreInput {
        agent_id: agent,
        capability: &capability,
        status: AgentStatus::Online,
        healthy,
        history,
        in_flight: 0,
    })
}

fn near(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance
}

/// `pattern`, newest first: S is a success.
fn rows(pattern: &str) -> Vec<bool> {
    pattern.chars().map(|c| c == 'S').collect()
}

#[test]
fn m1_5_check_values_of_the_specification() {
    let table: &[(&str, f64, bool, bool, String, f64)] = &[
        ("no history", 0.8, false, true, String::new(), 0.8),
        ("preferred", 0.8, true, true, String::new(), 0.84),
        ("a failed dependency", 0.8, true, false, String::new(), 0.0),
        ("all failures", 0.8, false, true, "F".repeat(20), 0.8 * 0.05),
        ("one failure alone", 1.0, false, true, "F".to_owned(), 0.05),
        ("pattern, no boost", 1.0, false, true, "SSFSF".to_owned(), 0.6205),
        ("three of four, boosted", 1.0, false, true, "SSSF".to_owned(), 1.1 * (1.0 + 0.95 + 0.9025) / 3.709_875),
        ("fewer than three rows", 1.0, false, true, "SS".to_owned(), 1.0),
        ("not the newest three", 1.0, false, true, "SFS".to_owned(), (1.0 + 0.9025) / 2.8525),
        ("the maximum", 1.0, true, true, "SSS".to_owned(), 1.155),
        ("only 20 rows count", 1.0, false, true, format!("{}{}", "S".repeat(20), "F".repeat(50)), 1.1),
    ];
    for (name, weight, preferred, healthy, pattern, want) in table {
        let got = card("a", *weight, *preferred, *healthy, &rows(pattern)).final_score;
        assert!(near(got, *want, 5e-5), "{name}: {got} instead of {want}");
    }
}

#[test]
fn m1_5_deploy_scenario_shifts_after_the_failures_of_the_specification() {
    let kubectl = card("kubectl-deployer", 0.7, false, true, &[]).final_score;
    let boosted = card("kubectl-deployer", 0.7, false, true, &rows("SSS")).final_score;
    assert!(near(card("argocd-deployer", 0.9, true, true, &[]).final_score, 0.945, 1e-9));
    assert!(near(boosted, 0.77, 1e-9));
    for (failures, want) in [(1, 0.871), (2, 0.801), (3, 0.735), (4, 0.672)] {
        let history = [vec![false; failures], vec![true; 20]].concat();
        let got = card("argocd-deployer", 0.9, true, true, &history).final_score;
        assert!(near(got, want, 5e-4), "{failures} failures: {got}");
        assert_eq!(got < kubectl, failures >= 4, "{failures} failures against an unused kubectl");
        assert_eq!(got < boosted, failures >= 3, "{failures} failures against a boosted kubectl");
    }
}

#[test]
fn m1_5_recovery_never_lowers_the_score_and_ends_above_kubectl() {
    for (successes, want) in [(0, 0.672), (1, 0.685), (2, 0.698), (3, 0.782)] {
        let history = [vec![true; successes], vec![false; 4], vec![true; 20]].concat();
        let got = card("argocd-deployer", 0.9, true, true, &history).final_score;
        assert!(near(got, want, 5e-4), "{successes} successes: {got}");
        assert_eq!(got > 0.77, successes == 3);
    }
}

#[test]
fn m1_5_a_degraded_agent_loses_to_an_online_one_at_equal_score() {
    let mut cards = [AgentStatus::Degraded, AgentStatus::Online].map(|status| {
        let capability = AgentCapability::new("c", 0.8);
        let name = format!("{status:?}");
        score(&ScoreInput {
            agent_id: &name,
            capability: &capability,
            status,
            healthy: true,
            history: &[],
            in_flight: 0,
        })
    });
    rank(&mut cards);
    assert_eq!(cards[0].status, AgentStatus::Online);
    assert!(near(cards[1].final_score, 0.72, 1e-9));
    assert!(cards.iter().all(eligible), "degraded agents stay eligible");
}

#[test]
fn m1_5_ties_go_to_the_preferred_then_the_idle_then_the_name() {
    let at = |agent: &str, preferred: bool, in_flight| AgentScoreCard {
        final_score: 0.5,
        preferred,
        in_flight,
        ..card(agent, 0.5, false, true, &[])
    };
    let mut cards = [at("d", false, 0), at("c", false, 0), at("b", false, 3), at("z", true, 9)];
    rank(&mut cards);
    assert_eq!(cards.map(|c| c.agent_id), ["z", "c", "d", "b"]);
}

#[test]
fn m1_5_a_dead_dependency_excludes_and_a_bad_record_does_not() {
    assert!(!eligible(&card("a", 1.0, true, false, &[])));
    assert!(eligible(&card("a", 0.1, false, true, &rows(&"F".repeat(20)))));
    assert!(!eligible(&card("a", 0.0, false, true, &[])), "weight 0 is never given work");
}

#[test]
fn m1_5_weights_outside_0_to_1_are_refused() {
    for weight in [-0.1, 1.2, f64::NAN, f64::INFINITY] {
        let error = AgentCapability::new("c", weight).validate().unwrap_err();
        assert_eq!(error.field.as_deref(), Some("weight"), "{weight}");
    }
    let error = AgentCapability::new("", 0.5).validate().unwrap_err();
    assert_eq!(error.field.as_deref(), Some("name"));
}

fn any_card() -> impl Strategy<Value = (f64, bool, bool, Vec<bool>, i64)> {
    (0.0..=1.0, any::<bool>(), any::<bool>(), prop::collection::vec(any::<bool>(), 0..40), 0..4_i64)
}

proptest! {
    #[test]
    fn m1_5_scores_are_bounded((weight, preferred, healthy, history, _) in any_card()) {
        let c = card("a", weight, preferred, healthy, &history);
        prop_assert!((0.05..=1.0).contains(&c.rolling_success_rate));
        prop_assert!((0.0..=1.155 + 1e-12).contains(&c.final_score));
        prop_assert_eq!(c.final_score > 0.0, healthy && weight > 0.0);
    }

    #[test]
    fn m1_5_more_weight_never_scores_less((weight, preferred, healthy, history, _) in any_card(), more in 0.0..=1.0) {
        let more = weight + (1.0 - weight) * more;
        let low = card("a", weight, preferred, healthy, &history).final_score;
        prop_assert!(card("a", more, preferred, healthy, &history).final_score >= low);
    }

    #[test]
    fn m1_5_a_success_never_scores_less_than_a_failure((weight, preferred, healthy, history, _) in any_card()) {
        let with = |newest| card("a", weight, preferred, healthy, &[vec![newest], history.clone()].concat()).final_score;
        prop_assert!(with(true) >= with(false));
    }

    #[test]
    fn m1_5_rank_does_not_depend_on_the_order_it_is_given(
        (sorted, shuffled) in prop::collection::vec((0..4_u8, any::<bool>(), 0..3_i64), 0..12).prop_flat_map(|parts| {
            let cards: Vec<_> = parts.iter().enumerate().map(|(i, (weight, preferred, in_flight))| AgentScoreCard {
                in_flight: *in_flight,
                ..card(&format!("agent-{i}"), f64::from(*weight) / 4.0, *preferred, true, &[])
            }).collect();
            (Just(cards.clone()), Just(cards).prop_shuffle())
        }),
    ) {
        let (mut a, mut b) = (sorted, shuffled);
        rank(&mut a);
        rank(&mut b);
        prop_assert_eq!(&a, &b);
        prop_assert!(a.is_sorted_by(|x, y| x.final_score >= y.final_score));
    }
}

#[test]
fn scores_are_shown_rounded_and_compared_exactly() {
    let capability = AgentCapability::new("c", 0.8);
    let history = [true, true, true];
    let status = AgentStatus::Online;
    let card = score(&ScoreInput {
        agent_id: "a",
        capability: &capability,
        status,
        healthy: true,
        history: &history,
        in_flight: 0,
    });
    assert_ne!(card.final_score.to_string(), "0.88", "the product is not exact");
    assert_eq!(serde_json::to_value(&card).unwrap()["finalScore"].to_string(), "0.88");
    let third = mesh_six_core::scoring::AgentScoreCard { rolling_success_rate: 1.0 / 3.0, ..card };
    assert_eq!(serde_json::to_value(&third).unwrap()["rollingSuccessRate"].to_string(), "0.333333");
}
