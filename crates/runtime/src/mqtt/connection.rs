//! Keeps the connection to the broker and moves messages from the queue to it.

use std::{collections::VecDeque, pin::pin, time::Duration};

use ::metrics::{counter, gauge};
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, Outgoing, QoS};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{CONNECTED, MAX_PAYLOAD, Message, PUBLISHED, dropped};
use crate::config::MqttSettings;

/// Messages sent that the broker has not acknowledged yet.
const IN_FLIGHT: u16 = 100;
/// Pauses between two tries to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// The same at the end, when little time is left.
const LAST_PAUSE: Duration = Duration::from_millis(100);
/// How long connecting may take, in seconds.
const CONNECT_SECONDS: u64 = 5;
/// How often the broker hears of us when there is nothing to say.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A message that the broker has not acknowledged.
struct Sent {
    /// Its number in this connection, once it has one.
    id: Option<u16>,
    message: Message,
}

/// The task behind [`super::Mqtt`].
pub(super) struct Connection {
    options: MqttOptions,
    queue: mpsc::Receiver<Message>,
    closing: CancellationToken,
    /// Whether the queue takes nothing more.
    closed: bool,
    /// In the order of the queue.
    sent: VecDeque<Sent>,
}

impl Connection {
    pub(super) fn new(settings: &MqttSettings, queue: mpsc::Receiver<Message>, closing: CancellationToken) -> Self {
        // Two processes with one name would throw each other out.
        let name = format!("mesh-six-{:08x}", fastrand::u32(..));
        let mut options = MqttOptions::new(name, &settings.host, settings.port);
        options.set_keep_alive(KEEP_ALIVE).set_inflight(IN_FLIGHT);
        options.set_max_packet_size(MAX_PAYLOAD * 2, MAX_PAYLOAD * 2);
        if let Some((user, password)) = &settings.login {
            options.set_credentials(user, password.expose());
        }
        Self { options, queue, closing, closed: false, sent: VecDeque::new() }
    }

    /// Runs until everything is sent after `closing`.
    pub(super) async fn run(mut self) {
        let (mut pause, mut told) = (FIRST_PAUSE, false);
        loop {
            let mut connected = false;
            let lost = self.connection(&mut connected).await;
            gauge!(CONNECTED.name).set(0.0);
            let Err(error) = lost else { return };
            if self.closed && self.queue.is_empty() && self.sent.is_empty() {
                return;
            }
            if connected {
                (pause, told) = (FIRST_PAUSE, false);
            }
            if !std::mem::replace(&mut told, true) {
                let (host, port) = self.options.broker_address();
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, host, port, "the MQTT broker cannot be reached; trying on");
            }
            let (rest, closing) = (pause.mul_f64(0.5 + fastrand::f64() / 2.0), self.closing.clone());
            if tokio::time::timeout(rest, closing.cancelled()).await.is_ok() {
                tokio::time::sleep(LAST_PAUSE).await;
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// One connection, from its begin to its loss. Each has a client of its own: the library's forgets what was not
    /// acknowledged when it connects anew to a broker that has forgotten us.
    async fn connection(&mut self, connected: &mut bool) -> Result<(), ConnectionError> {
        let (client, mut events) = AsyncClient::new(self.options.clone(), usize::from(IN_FLIGHT) + 1);
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(CONNECT_SECONDS);
        events.set_network_options(network);
        for sent in &mut self.sent {
            sent.id = None;
            hand_over(&client, &sent.message);
        }
        let mut leaving = false;
        loop {
            match self.next(&client, &mut events, *connected).await? {
                Event::Incoming(Incoming::ConnAck(_)) => {
                    *connected = true;
                    gauge!(CONNECTED.name).set(1.0);
                    let (host, port) = self.options.broker_address();
                    tracing::info!(host, port, "connected to the MQTT broker");
                }
                Event::Outgoing(Outgoing::Publish(id)) => {
                    if let Some(sent) = self.sent.iter_mut().find(|sent| sent.id.is_none()) {
                        sent.id = Some(id);
                    }
                }
                Event::Incoming(Incoming::PubAck(ack)) => {
                    self.sent.retain(|sent| sent.id != Some(ack.pkid));
                    counter!(PUBLISHED.name).increment(1);
                }
                Event::Outgoing(Outgoing::Disconnect) => return Ok(()),
                _ => {}
            }
            if *connected && self.closed && self.queue.is_empty() && self.sent.is_empty() && !leaving {
                leaving = client.try_disconnect().is_ok();
            }
        }
    }

    /// The next event of the connection; meanwhile what is queued is handed over. The connection is never polled
    /// halfway, since it is not made for that.
    async fn next(
        &mut self,
        client: &AsyncClient,
        events: &mut EventLoop,
        connected: bool,
    ) -> Result<Event, ConnectionError> {
        let mut event = pin!(events.poll());
        loop {
            let room = connected && self.sent.len() < usize::from(IN_FLIGHT);
            tokio::select! {
                event = &mut event => return event,
                Some(message) = self.queue.recv(), if room => {
                    hand_over(client, &message);
                    self.sent.push_back(Sent { id: None, message });
                }
                () = self.closing.cancelled(), if !self.closed => {
                    self.queue.close();
                    self.closed = true;
                    if connected && self.queue.is_empty() && self.sent.is_empty() {
                        let _ = client.try_disconnect();
                    }
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let left = self.sent.len() + self.queue.len();
        if left > 0 {
            tracing::warn!(messages = left, "not told to the MQTT broker before the end");
            dropped("closing", left);
        }
    }
}

/// Gives `message` to the client, whose own queue has room for all that may be in flight.
fn hand_over(client: &AsyncClient, message: &Message) {
    let Message { topic, payload, retain } = message;
    let _ = client.try_publish(topic, QoS::AtLeastOnce, *retain, payload.clone());
}
