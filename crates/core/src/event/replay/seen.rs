//! Which events a fold has already taken, in bounded memory.

use std::collections::{HashSet, VecDeque};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Event;

/// How many marks are kept, 32 bytes each. The log itself holds no event twice, so a longer story would need a
/// source that repeats events from far back before one could be counted again.
const CAPACITY: usize = 65_536;

/// Marks of events: their ids, and hashes of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    marks: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

/// No part of what a state tells: two folds of one story in different orders are equal.
impl PartialEq for Seen {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Seen {
    /// Remembers `event`; false if its id or its key was there before.
    pub(super) fn first_time(&mut self, event: &Event) -> bool {
        let key = event.idempotency_key.as_deref().map(mark);
        if self.marks.contains(&event.id) || key.is_some_and(|k| self.marks.contains(&k)) {
            return false;
        }
        self.remember(event.id);
        if let Some(key) = key {
            self.remember(key);
        }
        true
    }

    fn remember(&mut self, mark: Uuid) {
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.marks.remove(&oldest);
        }
        self.marks.insert(mark);
        self.order.push_back(mark);
    }
}

fn mark(key: &str) -> Uuid {
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&Sha256::digest(key.as_bytes())[..16]);
    Uuid::from_bytes(bytes)
}
