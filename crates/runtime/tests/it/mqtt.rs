//! Telling the dashboard: within bounds, and never at the cost of who tells.

use std::time::{Duration, Instant};

use mesh_six_runtime::{MapEnv, Mqtt, MqttSettings, metrics};
use mesh_six_testing::{Mosquitto, free_port, wait_until};
use serde_json::json;

const LONG: Duration = Duration::from_secs(30);

fn settings(url: &str, login: &[(&str, &str)]) -> MqttSettings {
    let pairs = [("MQTT_URL", url)].into_iter().chain(login.iter().copied());
    MqttSettings::from_env(&MapEnv::new(pairs)).unwrap().unwrap()
}

/// The value of a counter, by its whole name with labels.
fn counted(name: &str) -> f64 {
    let text = metrics::render();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn what_is_told_arrives_in_order_and_what_is_retained_reaches_the_late() {
    let broker = Mosquitto::with_login("mesh", "hunter2").await;
    let mut early = broker.listen("t/#").await;
    let login = [("MQTT_USERNAME", "mesh"), ("MQTT_PASSWORD", "hunter2")];
    let mqtt = Mqtt::start(&settings(&broker.url(), &login));
    for n in 0..500 {
        mqtt.publish(format!("t/{n}"), &json!({ "n": n }), n == 499);
    }
    // Closing sends what is queued.
    mqtt.close(LONG).await;
    for n in 0..500 {
        let heard = early.next().await;
        assert_eq!((heard.topic, heard.payload), (format!("t/{n}"), json!({ "n": n })));
    }
    let late = broker.listen("t/#").await.next().await;
    assert_eq!((late.topic.as_str(), late.retained), ("t/499", true));
}

#[tokio::test]
async fn without_a_broker_the_queue_is_bounded_and_the_end_too() {
    let mqtt = Mqtt::with_queue(&settings(&format!("mqtt://127.0.0.1:{}", free_port()), &[]), 3);
    let dropped = |cause: &str| counted(&format!("mesh_six_mqtt_dropped_total{{cause=\"{cause}\"}}"));
    for n in 0..5 {
        mqtt.publish("t".to_owned(), &n, false);
    }
    mqtt.publish("t".to_owned(), &"x".repeat(70_000), false);
    assert_eq!((dropped("queue_full"), dropped("too_large")), (2.0, 1.0));
    let begun = Instant::now();
    mqtt.close(Duration::from_millis(300)).await;
    assert!(begun.elapsed() < LONG);
    wait_until(LONG, async || dropped("closing") >= 3.0).await;
}

#[tokio::test]
async fn a_broker_that_comes_back_gets_what_it_missed() {
    let mut broker = Mosquitto::start().await;
    let mqtt = Mqtt::start(&settings(&broker.url(), &[]));
    let mut listener = broker.listen("t").await;
    mqtt.publish("t".to_owned(), &1, false);
    assert_eq!(listener.next().await.payload, 1);
    broker.stop();
    drop(listener);
    mqtt.publish("t".to_owned(), &2, true);
    mqtt.publish("t".to_owned(), &3, true);
    broker.restart().await;
    // The newest is retained, so it does not matter which comes first, the listener or the message.
    let mut listener = broker.listen("t").await;
    assert_eq!(listener.until(|heard| heard.payload == 3).await.last().unwrap().payload, 3);
    mqtt.close(LONG).await;
}
