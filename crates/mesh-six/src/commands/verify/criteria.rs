//! All acceptance criteria: what each says, and how it is seen from outside, if at all.

use futures_util::future::{BoxFuture, FutureExt};

use super::{argocd, finding::Outcome, log, metrics, pods, sidecars, site::Site, tasks, traces, workloads};

/// One criterion.
pub(crate) struct Criterion {
    pub(crate) id: &'static str,
    pub(crate) sentence: &'static str,
    pub(crate) how: How,
}

/// How it is checked.
pub(crate) enum How {
    /// By this.
    Check(Check),
    /// Not from outside a running mesh, because of this.
    Elsewhere(&'static str),
    /// What it is about is still to be built.
    NotBuilt,
}

pub(crate) type Check = for<'s> fn(&'s Site) -> BoxFuture<'s, anyhow::Result<Outcome>>;

const fn at(id: &'static str, sentence: &'static str, check: Check) -> Criterion {
    Criterion { id, sentence, how: How::Check(check) }
}

const fn elsewhere(id: &'static str, sentence: &'static str, why: &'static str) -> Criterion {
    Criterion { id, sentence, how: How::Elsewhere(why) }
}

const fn later(id: &'static str, sentence: &'static str) -> Criterion {
    Criterion { id, sentence, how: How::NotBuilt }
}

const BREAKS: &str = "needs something to be broken or stopped; shown by `cargo xtask test`";
const BUILD: &str = "is about the source and its build; shown by `cargo xtask test`";
const ROLLOUT: &str = "needs a commit that is rolled out and one that is reverted";
const GRAFANA: &str = "needs a look at Grafana; that its queries work is shown by `cargo xtask test`";

/// Every criterion, in the order of its id.
pub(crate) const CRITERIA: &[Criterion] = &[
    at("M1.1", "agents are registered, online and beat", |site| tasks::agents_beat(site).boxed()),
    at("M1.2", "a request gets exactly one result, with an answer and its duration", |site| {
        tasks::one_answer(site).boxed()
    }),
    at("M1.3", "a task is accepted with agent and score; no agent is 503, bad input 400", |site| {
        tasks::accepted_or_refused(site).boxed()
    }),
    elsewhere("M1.4", "a failed task goes to the next agent, unchanged, at most three times", BREAKS),
    elsewhere("M1.5", "types, registry and scoring follow every rule of the specification", BUILD),
    at("M1.6", "one row of history for each attempt", |site| tasks::history_rows(site).boxed()),
    at("M1.7", "the sidecars have loaded the Dapr components and made their subscriptions", |site| {
        sidecars::components_loaded(site).boxed()
    }),
    at("M1.8", "each built service has its Deployment and Service, with its sidecar's annotations", |site| {
        workloads::deployed(site).boxed()
    }),
    at("M1.9", "each built service's pods run as non-root on a read-only root and answer /healthz", |site| {
        workloads::confined(site).boxed()
    }),
    at("M1.10", "the database has the newest schema", |site| log::migrated(site).boxed()),
    at("M1.11", "a task goes in, its answer comes out within 60 s, its story is on the record", |site| {
        tasks::end_to_end(site).boxed()
    }),
    at("M1.12", "one trace spans orchestrator, broker and agent", |site| traces::one_trace(site).boxed()),
    at("M1.13", "a finished task shows in the metrics, and the sidecars count their requests", |site| {
        metrics::counted(site).boxed()
    }),
    at("M1.14", "Argo CD is synced and healthy, and told to heal and to prune", |site| argocd::synced(site).boxed()),
    elsewhere("M1.15", "a task survives the orchestrator's restart", BREAKS),
    later("M2.1", "pgvector is there"),
    later("M2.2", "memory runs inside the agents"),
    later("M2.3", "memory stores, searches, lists and deletes"),
    later("M2.4", "each handled task is remembered under its user"),
    later("M2.5", "what a user said is in the prompt of a related question of the same user"),
    later("M2.6", "memory survives a restart of the agent"),
    later("M2.7", "a paraphrased question finds the right fact"),
    later("M2.8", "without the memory's database tasks succeed"),
    later("M3.1", "argocd-deployer creates, syncs and rolls back"),
    later("M3.2", "kubectl-deployer applies, lists, reads logs, rolls back, scales, restarts"),
    later("M3.3", "deploy-service goes to argocd-deployer when both deployers are well"),
    later("M3.4", "with Argo CD away all deploy-service tasks go to kubectl-deployer"),
    later("M3.5", "failures alone move tasks to the other deployer"),
    later("M3.6", "successes win an agent its place back"),
    later("M3.7", "a consultation returns a valid recommendation"),
    later("M3.8", "a recommendation shows up in a later consultation"),
    later("M3.9", "researcher-agent uses the provider asked for"),
    later("M3.10", "project-manager reaches architect and researcher, or goes on without them"),
    later("M3.11", "the history of tasks equals reality"),
    later("M3.12", "qa-tester, api-coder and ui-agent return valid objects"),
    later("M3.13", "a tool's error is a failure; a plan writes nothing"),
    later("M4.1", "a project on GitHub makes one issue"),
    later("M4.2", "a project on Gitea makes one issue"),
    later("M4.3", "the architect is asked before the issue is made"),
    later("M4.4", "legal transitions work, all others are refused"),
    later("M4.5", "an inadequate plan goes back with comments"),
    later("M4.6", "failed tests reject without asking a model"),
    later("M4.7", "the validate gate asks the service itself"),
    later("M4.8", "a project goes on after a kill, no step twice"),
    later("M4.9", "a job's message updates its project"),
    later("M4.10", "a project goes from task to accepted"),
    later("M4.11", "gate prompts stay small"),
    later("M4.12", "a reflection follows each gate"),
    later("M4.13", "a memory of one transition is in the next one's prompt"),
    later("M4.14", "a global memory reaches the architect"),
    later("M4.15", "the bridge keeps and publishes each hook event"),
    later("M4.16", "the dashboard shows changes within 2 s"),
    later("M4.17", "the board's status follows the state"),
    later("M5.1", "homelab-monitor asks Grafana, Loki and Prometheus rightly"),
    later("M5.2", "infra-manager's writes need approval"),
    later("M5.3", "cost-tracker's totals equal the logs"),
    later("M5.4", "all agents satisfy the common contract"),
    later("M5.5", "the three agents' manifests are whole"),
    later("M5.6", "all agents are online within 60 s"),
    later("M5.7", "the reason of a restart is found"),
    later("M5.8", "a scheduled report comes at its time"),
    at("E.1", "the log is one table, partitioned by month", |site| log::partitioned(site).boxed()),
    at("E.2", "this month's partition and those of the next three are there", |site| log::partitioned(site).boxed()),
    at("E.3", "queries by each condition, their order and pages fit together", |site| log::queried(site).boxed()),
    at("E.4", "each model request is on the record with its answer, without the question's text", |site| {
        log::traced(site).boxed()
    }),
    elsewhere("E.5", "each message is stored once, also across an outage of the database", BREAKS),
    at("E.6", "events are found by trace, task, agent, type and time, each within 100 ms", |site| {
        log::found_quickly(site).boxed()
    }),
    later("E.7", "all eleven agents trace every text call"),
    elsewhere("E.8", "events are visible in Grafana", GRAFANA),
    at("E.9", "a task's replay is in order and folds to the status the orchestrator tells", |site| {
        log::replayed(site).boxed()
    }),
    elsewhere("E.10", "without a database agents work", BREAKS),
    elsewhere("E.11", "50 concurrent appends of one key give one row", "would write into the log what no task did"),
    at("D.1", "the images of all services came from the registry, by one tag or by digest", |site| {
        workloads::images(site).boxed()
    }),
    at("D.2", "no pod failed to start for ten minutes, and none was killed for want of memory for an hour", |site| {
        pods::calm(site).boxed()
    }),
    elsewhere("D.3", "a commit leads to a healthy rollout, a revert rolls it back", ROLLOUT),
];
