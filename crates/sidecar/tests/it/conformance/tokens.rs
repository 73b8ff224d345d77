//! Who proves to whom that it is the other half of an app.

use std::time::Duration;

use http::Method;
use mesh_six_sidecar::{Condition, SidecarError, Status};
use serde_json::json;

use super::{Fixture, one_app};
use crate::support::{Scripted, message, messages, subscription, topic, wait_for};

pub(crate) async fn only_the_sidecar_gets_into_the_app(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    let app = format!("app-{topic}");
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    for (method, path) in [(Method::GET, "/dapr/subscribe"), (Method::POST, &*format!("/{topic}"))] {
        for (token, status) in [(None, 401), (Some(""), 403), (Some("guessed"), 403)] {
            assert_eq!(fixture.knock(&app, method.clone(), path, token).await, status, "{method} {path} {token:?}");
        }
    }
    assert!(handler.seen().batches.is_empty());
    let token = fixture.app_token();
    assert_eq!(fixture.knock(&app, Method::GET, "/dapr/subscribe", Some(&token)).await, 200);
    assert_eq!(fixture.knock(&app, Method::POST, &format!("/{topic}"), Some(&token)).await, 200);
    assert_eq!(handler.ids(), ["forged"]);
}

pub(crate) async fn only_the_app_gets_into_the_sidecar(fixture: &impl Fixture) {
    let (topic, handler) = (topic(), Scripted::always(Status::Success));
    let app = format!("app-{topic}");
    one_app(fixture, &app, subscription(&topic, 20), &handler).await;
    let own = fixture.sidecar(&app).await;
    for token in [None, Some("guessed")] {
        let Some(stranger) = fixture.stranger(&app, token).await else { continue };
        let answers = [
            stranger.publish(message(&topic, json!("forged"))).await,
            stranger.publish_bulk(messages(&topic, 1)).await.remove(0),
            stranger.get_state(&topic).await.map(drop),
            stranger.get_state_bulk(std::slice::from_ref(&topic)).await.map(drop),
            stranger.set_state(&topic, json!("forged"), Condition::None, None).await,
            stranger.delete_state(&topic).await,
            stranger.invoke(&app, "/x", json!({}), None, Duration::from_secs(10)).await.map(drop),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(SidecarError::Refused { status: 401, .. })), "{token:?}: {answer:?}");
        }
    }
    own.publish(message(&topic, json!("own"))).await.unwrap();
    wait_for("the app's own message", vec![json!("own")], async || {
        handler.seen().answered.into_iter().map(|(got, _)| got.event.data).collect()
    })
    .await;
    assert_eq!(own.get_state(&topic).await.unwrap(), None);
}
