//! Whatever a handler answers, each message ends exactly once: as a success or as a dead letter.

use std::collections::{BTreeMap, HashMap};

use mesh_six_sidecar::{LocalMesh, MeshConfig, Status};
use proptest::{prelude::*, test_runner::Config};

use crate::{
    local::start,
    support::{Scripted, Step, dead_letters, messages, subscription, wait_for},
};

/// What a message goes through before its end, and its end.
fn life() -> impl Strategy<Value = Vec<Step>> {
    let before = prop_oneof![Just(Step::Answer(Status::Retry)), Just(Step::Missing)];
    let end = prop_oneof![
        3 => Just(Step::Answer(Status::Success)),
        1 => Just(Step::Answer(Status::Drop)),
        1 => Just(Step::Panic),
    ];
    (prop::collection::vec(before, 0..4), end).prop_map(|(mut steps, end)| {
        steps.push(end);
        steps
    })
}

async fn run(lives: Vec<Vec<Step>>, batch: usize) {
    let mesh = LocalMesh::with_config(MeshConfig { queue_capacity: 8, ..MeshConfig::default() });
    let sent = messages("t", lives.len());
    let ends: BTreeMap<String, Step> =
        sent.iter().zip(&lives).map(|(message, steps)| (message.id.clone(), steps[steps.len() - 1])).collect();
    let script: HashMap<String, Vec<Step>> = sent.iter().map(|message| message.id.clone()).zip(lives).collect();
    let handler = Scripted::new(move |delivery, tries| {
        let steps = &script[&delivery.event.id];
        *steps.get(tries).unwrap_or(&steps[steps.len() - 1])
    });
    let dead = Scripted::always(Status::Success);
    start(&mesh, "logger", dead_letters("t"), &dead).await;
    start(&mesh, "app", subscription("t", batch), &handler).await;

    // A publisher that is told to come back does; the mesh joins what is still under way.
    let publisher = mesh.sidecar("publisher");
    let mut left = sent;
    while !left.is_empty() {
        let answers = publisher.publish_bulk(left.clone()).await;
        left =
            left.into_iter().zip(answers).filter(|(_, answer)| answer.is_err()).map(|(message, _)| message).collect();
    }
    wait_for("the end of all messages", 0, async || mesh.under_way()).await;

    let mut successes: Vec<String> = handler
        .seen()
        .answered
        .into_iter()
        .filter(|(_, step)| *step == Step::Answer(Status::Success))
        .map(|(delivery, _)| delivery.event.id)
        .collect();
    let mut letters = dead.ids();
    successes.sort();
    letters.sort();
    let ended_with = |success: bool| -> Vec<String> {
        let ends = ends.iter().filter(|(_, end)| (**end == Step::Answer(Status::Success)) == success);
        ends.map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(successes, ended_with(true));
    assert_eq!(letters, ended_with(false));
    mesh.shutdown().await;
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn each_message_ends_exactly_once(lives in prop::collection::vec(life(), 1..24), batch in 1_usize..8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(lives, batch));
    }
}
