//! An MQTT broker: mosquitto, as Debian packages it, with a configuration of its own.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use serde_json::Value;
use tempfile::TempDir;

use crate::{free_port, temporary_folder, wait_until};

/// How long the broker may take to start, and to say something.
const PATIENCE: Duration = Duration::from_secs(30);
/// Debian puts it where only root looks.
const PLACES: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"];

/// A broker on a port of its own, which keeps nothing across restarts.
pub struct Mosquitto {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    login: Option<(String, String)>,
}

/// A message from the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Value,
    /// Whether it is from before the subscription.
    pub retained: bool,
}

/// A subscription.
pub struct Listener {
    events: EventLoop,
    // Without it the connection ends.
    _client: AsyncClient,
}

impl Mosquitto {
    /// A broker that everybody may use. Fails the test if there is no mosquitto on the machine.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// A broker for one user.
    pub async fn with_login(user: &str, password: &str) -> Self {
        Self::with(Some((user.to_owned(), password.to_owned()))).await
    }

    async fn with(login: Option<(String, String)>) -> Self {
        let folder = temporary_folder().unwrap_or_else(|error| panic!("{error:#}"));
        let mut broker = Self { child: None, folder, port: free_port(), login };
        broker.configure();
        broker.restart().await;
        broker
    }

    fn configure(&self) {
        let mut lines = vec![format!("listener {} 127.0.0.1", self.port), "persistence false".to_owned()];
        // Else it becomes a user who may not read what it is given.
        lines.push("user root".to_owned());
        match &self.login {
            None => lines.push("allow_anonymous true".to_owned()),
            Some((user, password)) => {
                let file = self.folder.path().join("passwords");
                let mut command = Command::new("mosquitto_passwd");
                let made = command.args(["-b", "-c"]).arg(&file).args([user, password]).stderr(Stdio::null()).status();
                assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd failed");
                lines.push(format!("allow_anonymous false\npassword_file {}", file.display()));
            }
        }
        let written = fs::write(self.configuration(), lines.join("\n"));
        written.unwrap_or_else(|error| panic!("cannot write the broker's configuration: {error}"));
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("mosquitto.conf")
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port, knowing nothing.
    pub async fn restart(&mut self) {
        self.stop();
        let program = PLACES.iter().find(|place| PathBuf::from(place).exists()).unwrap_or(&"mosquitto");
        let mut command = Command::new(program);
        command.arg("-c").arg(self.configuration()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("cannot start mosquitto; install it: {error}")));
        let port = self.port;
        wait_until(PATIENCE, async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }

    /// Subscribes to `topic`; what is published after this returns is heard.
    pub async fn listen(&self, topic: &str) -> Listener {
        let mut options =
            MqttOptions::new(format!("listener-{}", uuid::Uuid::now_v7().simple()), "127.0.0.1", self.port);
        if let Some((user, password)) = &self.login {
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, 10);
        client.try_subscribe(topic, QoS::AtLeastOnce).unwrap_or_else(|error| panic!("cannot subscribe: {error}"));
        let mut listener = Listener { events, _client: client };
        while !matches!(listener.event().await, Event::Incoming(Incoming::SubAck(_))) {}
        listener
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Listener {
    /// The next message.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Event::Incoming(Incoming::Publish(message)) = self.event().await {
                let payload = serde_json::from_slice(&message.payload);
                return Heard {
                    topic: message.topic,
                    payload: payload.unwrap_or_else(|error| panic!("a message is not JSON: {error}")),
                    retained: message.retain,
                };
            }
        }
    }

    /// The messages up to and including the first for which `last` holds.
    pub async fn until(&mut self, last: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut heard = vec![self.next().await];
        while !heard.last().is_some_and(&last) {
            heard.push(self.next().await);
        }
        heard
    }

    async fn event(&mut self) -> Event {
        let Ok(event) = tokio::time::timeout(PATIENCE, self.events.poll()).await else {
            panic!("nothing was heard from the broker within {PATIENCE:?}");
        };
        event.unwrap_or_else(|error| panic!("the listener lost the broker: {error}"))
    }
}
