//! What fails when: made of nothing but the seed, the time and the names of what can fail.

use std::{fmt, time::Duration};

use fastrand::Rng;

use crate::rig::Way;

/// The shortest time that a part is away.
const SHORTEST: Duration = Duration::from_millis(300);
/// The longest: an agent's lease, and so the end of an attempt, is another matter than a short fault.
const LONGEST: Duration = Duration::from_secs(5);
/// Most rounds: a soak of some hours need not be a storm.
const MAX_ROUNDS: u32 = 60;
/// Cut ways in a round.
const CUTS: usize = 3;

/// What can fail.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Services and sidecars: killed, and told to end.
    pub processes: Vec<String>,
    /// Servers: killed, and stopped in order.
    pub servers: Vec<String>,
    /// Ways from an instance to a server: cut.
    pub ways: Vec<(String, Way)>,
}

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIGKILL, and a start after a while.
    Kill,
    /// The end in order (SIGTERM, or a server's own), and a start after a while.
    Stop,
    /// A way that carries nothing, without a word to either side.
    Silence,
    /// A way whose connections end and do not come about any more.
    Cut,
}

impl Kind {
    /// In a table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Silence => "silence",
            Self::Cut => "cut",
        }
    }
}

/// A fault at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// After the begin.
    pub at: Duration,
    /// How long what fails stays away before it is started again, or the way before it is healed.
    pub lasts: Duration,
    /// What happens.
    pub kind: Kind,
    /// To which part, or on whose way.
    pub target: String,
    /// Which way, where one is cut.
    pub way: Option<Way>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:8.1} s  {:<7}  {}", self.kind.as_str(), self.target)?;
        if let Some(way) = self.way {
            write!(f, " -> {}", format!("{way:?}").to_lowercase())?;
        }
        write!(f, "  for {lasts:.1} s")
    }
}

/// All faults of a run, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of their times.
    pub faults: Vec<Fault>,
    /// In each, every process and server is killed once.
    pub rounds: u32,
}

impl Plan {
    /// As many rounds as fit into `length` at one fault each `pace`, at least one. Each process and server is killed
    /// once in a round; each server is stopped once; a quarter of the processes is told to end; some ways are cut. No
    /// fault begins before the one before it is over, and there is a pause between them.
    pub fn make(seed: u64, length: Duration, pace: Duration, targets: &Targets) -> Self {
        let mut random = Rng::with_seed(seed);
        let round = Self::round(&mut random, targets);
        if round.is_empty() {
            return Self { faults: Vec::new(), rounds: 0 };
        }
        let per_round = u32::try_from(round.len()).unwrap_or(u32::MAX);
        let fitting = length.as_secs_f64() / (pace.as_secs_f64() * f64::from(per_round));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped, and never negative")]
        let rounds = (fitting as u32).clamp(1, MAX_ROUNDS);
        let slot = length / (rounds * per_round);
        let mut faults = Vec::new();
        for kinds in (1..rounds).fold(vec![round], |mut all, _| {
            all.push(Self::round(&mut random, targets));
            all
        }) {
            for (kind, target, way) in kinds {
                let begin = slot * u32::try_from(faults.len()).unwrap_or(u32::MAX);
                let at = begin + slot.mul_f64(random.f64() / 4.0);
                let longest = LONGEST.min(slot / 2);
                let lasts = SHORTEST.min(longest) + longest.saturating_sub(SHORTEST).mul_f64(random.f64());
                faults.push(Fault { at, lasts, kind, target, way });
            }
        }
        Self { faults, rounds }
    }

    /// What happens in a round, in the order in which it happens.
    fn round(random: &mut Rng, targets: &Targets) -> Vec<(Kind, String, Option<Way>)> {
        let Targets { processes, servers, ways } = targets;
        let mut all: Vec<_> = processes.iter().chain(servers).map(|part| (Kind::Kill, part.clone(), None)).collect();
        let told = random.choose_multiple(processes, processes.len().div_ceil(4));
        all.extend(servers.iter().chain(told).map(|part| (Kind::Stop, part.clone(), None)));
        for (instance, way) in random.choose_multiple(ways, CUTS) {
            let kind = if random.bool() { Kind::Silence } else { Kind::Cut };
            all.push((kind, instance.clone(), Some(*way)));
        }
        random.shuffle(&mut all);
        all
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn targets() -> impl Strategy<Value = Targets> {
        let names = |prefix: &'static str, most: usize| {
            (0..=most).prop_map(move |count| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>())
        };
        (names("process", 12), names("server", 3)).prop_map(|(processes, servers)| {
            let ways = processes.iter().flat_map(|name| Way::ALL.map(|way| (name.clone(), way))).collect();
            Targets { processes, servers, ways }
        })
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_plan(seed: u64, seconds in 60_u64..4_000, targets in targets()) {
            let make = |seed| Plan::make(seed, Duration::from_secs(seconds), Duration::from_secs(8), &targets);
            prop_assert_eq!(make(seed), make(seed));
        }

        #[test]
        fn every_part_is_killed_once_a_round_and_nothing_overlaps(
            seed: u64, seconds in 60_u64..4_000, targets in targets(),
        ) {
            let length = Duration::from_secs(seconds);
            let plan = Plan::make(seed, length, Duration::from_secs(8), &targets);
            let mut kills = BTreeMap::new();
            for fault in &plan.faults {
                if fault.kind == Kind::Kill {
                    *kills.entry(fault.target.as_str()).or_insert(0) += 1;
                }
                prop_assert_eq!(fault.way.is_some(), matches!(fault.kind, Kind::Cut | Kind::Silence));
                prop_assert!(fault.lasts <= LONGEST && fault.at + fault.lasts <= length, "{}", fault);
            }
            for part in targets.processes.iter().chain(&targets.servers) {
                prop_assert_eq!(kills.get(part.as_str()), Some(&plan.rounds), "{}", part);
            }
            // What follows begins after a pause: a quarter of the time that each fault has.
            let slot = length.checked_div(u32::try_from(plan.faults.len()).unwrap()).unwrap_or_default();
            for pair in plan.faults.windows(2) {
                prop_assert!(pair[1].at >= pair[0].at + pair[0].lasts + slot / 5, "{} then {}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn twenty_minutes_kill_each_part_of_the_whole_mesh_five_times() {
        let processes = (0..10).map(|n| format!("process{n}")).collect::<Vec<_>>();
        let ways = processes.iter().map(|name| (name.clone(), Way::Broker)).collect();
        let servers = ["postgresql", "rabbitmq", "redis"].map(str::to_owned).to_vec();
        let targets = Targets { processes, servers, ways };
        let plan = Plan::make(1, Duration::from_mins(20), Duration::from_secs(8), &targets);
        assert!(plan.rounds >= 5, "{}", plan.rounds);
        // Another seed is another plan.
        assert_ne!(plan, Plan::make(2, Duration::from_mins(20), Duration::from_secs(8), &targets));
    }
}
