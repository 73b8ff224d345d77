//! RabbitMQ spoken to without a sidecar: messages of which the broker itself says that it has them, and queues that keep
//! a copy of a topic.

use std::time::Duration;

use amqprs::{
    Ack, BasicProperties, CloseChannel, Nack, Return,
    callbacks::{ChannelCallback, DefaultConnectionCallback},
    channel::{
        BasicConsumeArguments, BasicPublishArguments, Channel, ConfirmSelectArguments, QueueBindArguments,
        QueueDeclareArguments, QueuePurgeArguments,
    },
    connection::{Connection, OpenConnectionArguments},
    error::Error as AmqpError,
};
use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout, timeout_at},
};

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Nothing came for so long: the queue is empty.
const QUIET: Duration = Duration::from_secs(2);

/// Publishes with the broker's confirms. Connects when it has to.
pub struct AmqpPublisher {
    url: String,
    open: Option<Open>,
}

struct Open {
    channel: Channel,
    confirms: UnboundedReceiver<Confirm>,
    /// The number that the broker gives to the next message.
    next: u64,
    _connection: Connection,
}

struct Confirm {
    tag: u64,
    /// All up to this one.
    multiple: bool,
    taken: bool,
}

impl AmqpPublisher {
    /// For this broker (`amqp://user:password@host:port`).
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), open: None }
    }

    /// Publishes `bodies` to `topic`, as a sidecar would, and says of each whether the broker has confirmed `within` this
    /// time that it keeps it. What is not confirmed may have arrived all the same.
    pub async fn publish(&mut self, topic: &str, bodies: &[Vec<u8>], within: Duration) -> Vec<bool> {
        let mut confirmed = vec![false; bodies.len()];
        let deadline = Instant::now() + within;
        let whole = timeout_at(deadline, self.try_publish(topic, bodies, &mut confirmed)).await;
        if !matches!(whole, Ok(Ok(()))) {
            // Its confirms could not be told from those of later messages.
            self.open = None;
        }
        confirmed
    }

    async fn try_publish(&mut self, topic: &str, bodies: &[Vec<u8>], confirmed: &mut [bool]) -> Result<()> {
        let open = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => self.open.insert(Open::connect(&self.url).await?),
        };
        let first = open.next;
        for body in bodies {
            let mut properties = BasicProperties::default();
            properties.with_content_type("application/json").with_persistence(true);
            let to = BasicPublishArguments::new(topic, "");
            open.next += 1;
            open.channel.basic_publish(properties, body.clone(), to).await?;
        }
        let mut missing = bodies.len();
        while missing > 0 {
            let confirm = open.confirms.recv().await.context("the broker closed the connection")?;
            let last = usize::try_from(confirm.tag.saturating_sub(first))?;
            let range = if confirm.multiple { 0..=last } else { last..=last };
            for place in range {
                let one = confirmed.get_mut(place).context("the broker confirmed what was not sent")?;
                missing -= usize::from(confirm.taken && !*one);
                *one |= confirm.taken;
            }
            anyhow::ensure!(confirm.taken, "the broker refused a message");
        }
        Ok(())
    }
}

impl Open {
    async fn connect(url: &str) -> Result<Self> {
        let (connection, channel) = connect(url).await?;
        let (told, confirms) = mpsc::unbounded_channel();
        channel.register_callback(Confirms(told)).await?;
        channel.confirm_select(ConfirmSelectArguments::default()).await?;
        Ok(Self { channel, confirms, next: 1, _connection: connection })
    }
}

struct Confirms(UnboundedSender<Confirm>);

#[async_trait]
impl ChannelCallback for Confirms {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), AmqpError> {
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: amqprs::Cancel) -> Result<(), AmqpError> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, _: bool) -> Result<bool, AmqpError> {
        Ok(true)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        // Nobody listens any more once the publisher is gone.
        let _ = self.0.send(Confirm { tag: ack.delivery_tag(), multiple: ack.mutiple(), taken: true });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let _ = self.0.send(Confirm { tag: nack.delivery_tag(), multiple: nack.multiple(), taken: false });
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

/// A durable queue that gets a copy of everything that reaches a topic from now on.
pub struct Witness {
    url: String,
    queue: String,
}

impl Witness {
    /// Made beside the queues of the subscribers, one of which must be there already.
    pub async fn of(url: &str, topic: &str) -> Result<Self> {
        let queue = format!("witness-{topic}");
        let (_connection, channel) = connect(url).await?;
        let declared = async {
            channel.queue_declare(QueueDeclareArguments::durable_client_named(&queue)).await?;
            channel.queue_bind(QueueBindArguments::new(&queue, topic, "")).await
        };
        declared.await.with_context(|| format!("no copy of topic {topic} can be kept"))?;
        Ok(Self { url: url.to_owned(), queue })
    }

    /// Takes out all that it has and gives each message's body to `seen`.
    pub async fn drain(&self, mut seen: impl FnMut(Vec<u8>)) -> Result<()> {
        let (_connection, channel) = connect(&self.url).await?;
        let arguments = BasicConsumeArguments::new(&self.queue, "").auto_ack(true).finish();
        let (_, mut messages) = channel.basic_consume_rx(arguments).await?;
        while let Ok(message) = timeout(QUIET, messages.recv()).await {
            let message = message.context("the broker closed the connection")?;
            seen(message.content.unwrap_or_default());
        }
        Ok(())
    }
}

/// How many messages wait in a queue.
pub async fn queue_length(url: &str, queue: &str) -> Result<u32> {
    let (_connection, channel) = connect(url).await?;
    let looked = channel.queue_declare(QueueDeclareArguments::new(queue).passive(true).finish()).await;
    let (_, waiting, _) = looked?.context("the broker did not say how long the queue is")?;
    Ok(waiting)
}

/// Loses all messages that wait in a queue, and says how many there were. What a subscriber holds already is not among
/// them.
pub async fn lose_waiting(url: &str, queue: &str) -> Result<u32> {
    let (_connection, channel) = connect(url).await?;
    let lost = channel.queue_purge(QueuePurgeArguments::new(queue)).await?;
    lost.context("the broker did not say how many messages it has lost")
}

async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let told = url.strip_prefix("amqp://").and_then(|rest| rest.split_once('@'));
    let told = told.and_then(|(login, address)| Some((login.split_once(':')?, address.split_once(':')?)));
    let ((user, password), (host, port)) = told.context("a broker's URL is amqp://user:password@host:port")?;
    let arguments = OpenConnectionArguments::new(host, port.parse()?, user, password);
    let open = async {
        let connection = Connection::open(&arguments).await?;
        connection.register_callback(DefaultConnectionCallback).await?;
        let channel = connection.open_channel(None).await?;
        Ok::<_, AmqpError>((connection, channel))
    };
    Ok(timeout(ANSWER, open).await.context("the broker does not answer")??)
}
