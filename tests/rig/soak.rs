//! The small version of `cargo xtask soak`: each part of the mesh is killed once under load, servers are stopped, ways
//! are cut.

use std::{path::Path, time::Duration};

use mesh_six_testing::soak::{self, Progress, Settings};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a network namespace: cargo xtask test"]
async fn nothing_accepted_is_lost_or_done_twice_while_each_part_is_killed() {
    let settings = Settings {
        length: Duration::from_secs(100),
        pace: Duration::from_secs(4),
        messages: 4_000,
        tasks: 100,
        measured: None,
        artefacts: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/soak/test")),
        ..Settings::of_minutes(env!("CARGO_BIN_EXE_mesh-six"), 1, soak::WHOLE)
    };
    let report = Box::pin(soak::run(&settings, &Progress::new(true))).await.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.holds(), "{report}");
}
