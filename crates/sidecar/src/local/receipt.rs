//! How a publisher learns that every copy of its message has been dealt with.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

/// How far a published message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some subscriber has not answered for good yet.
    Waiting,
    /// Every subscriber has.
    Settled,
    /// The message was given up: not admitted, or the mesh was shut down.
    Lost,
}

/// What makes two messages the same: topic, source, id.
pub(super) type Identity = (String, String, String);

/// The messages under way, so that a second publish of one joins the first.
#[derive(Default)]
pub(super) struct Pending {
    messages: Mutex<HashMap<Identity, watch::Receiver<Progress>>>,
    count: watch::Sender<usize>,
}

/// A publish is the first of its message, or joins one under way.
pub(super) enum Opened {
    First(Share, watch::Receiver<Progress>),
    Joined(watch::Receiver<Progress>),
}

impl Pending {
    /// Begins a message, unless it is under way already.
    pub(super) fn open(self: &Arc<Self>, identity: Identity) -> Opened {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = messages.get(&identity) {
            return Opened::Joined(progress.clone());
        }
        let (sender, receiver) = watch::channel(Progress::Waiting);
        messages.insert(identity.clone(), receiver.clone());
        self.count.send_replace(messages.len());
        let receipt = Receipt {
            identity,
            pending: Arc::clone(self),
            outstanding: AtomicUsize::new(1),
            lost: AtomicBool::new(false),
            progress: sender,
        };
        Opened::First(Share(Some(Arc::new(receipt))), receiver)
    }

    /// How many messages are under way.
    pub(super) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    fn close(&self, identity: &Identity) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.remove(identity);
        self.count.send_replace(messages.len());
    }
}

struct Receipt {
    identity: Identity,
    pending: Arc<Pending>,
    outstanding: AtomicUsize,
    lost: AtomicBool,
    progress: watch::Sender<Progress>,
}

impl Receipt {
    fn release(&self) {
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pending.close(&self.identity);
            let lost = self.lost.load(Ordering::Acquire);
            self.progress.send_replace(if lost { Progress::Lost } else { Progress::Settled });
        }
    }
}

/// One copy's part in its message. Dropped without [`Share::settle`], the message counts as lost.
pub(super) struct Share(Option<Arc<Receipt>>);

impl Share {
    /// The part of one more copy.
    pub(super) fn another(&self) -> Self {
        if let Some(receipt) = &self.0 {
            receipt.outstanding.fetch_add(1, Ordering::AcqRel);
        }
        Self(self.0.clone())
    }

    /// This copy has been dealt with.
    pub(super) fn settle(mut self) {
        if let Some(receipt) = self.0.take() {
            receipt.release();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(receipt) = self.0.take() {
            receipt.lost.store(true, Ordering::Release);
            receipt.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        ("topic".to_owned(), "source".to_owned(), "id".to_owned())
    }

    #[test]
    fn a_message_is_settled_once_every_copy_is_and_a_second_publish_joins_until_then() {
        let pending = Arc::new(Pending::default());
        let Opened::First(share, progress) = pending.open(identity()) else { panic!("joined nothing") };
        let copy = share.another();
        share.settle();
        assert_eq!(*progress.borrow(), Progress::Waiting);
        let Opened::Joined(second) = pending.open(identity()) else { panic!("did not join") };
        assert_eq!(*pending.count().borrow(), 1);
        copy.settle();
        assert_eq!((*progress.borrow(), *second.borrow()), (Progress::Settled, Progress::Settled));
        assert_eq!(*pending.count().borrow(), 0);
        assert!(matches!(pending.open(identity()), Opened::First(..)));
    }

    #[test]
    fn a_copy_that_is_thrown_away_makes_the_message_lost() {
        let pending = Arc::new(Pending::default());
        let Opened::First(share, progress) = pending.open(identity()) else { panic!("joined nothing") };
        drop(share.another());
        share.settle();
        assert_eq!(*progress.borrow(), Progress::Lost);
    }
}
