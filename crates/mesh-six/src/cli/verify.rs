//! `mesh-six verify`.

use std::path::PathBuf;

use clap::Args;

use super::{DatabaseArgs, Output, Target};

#[derive(Args)]
#[command(
    after_help = "Runs the acceptance criteria that can be seen from outside. It submits a few tasks, marked with the user
mesh-six-verify, and changes nothing else. With a database (DATABASE_URL, or the private one of a running
`mesh-six up`) it also looks at the tables; with --cluster at the pods, their sidecars and Argo CD. What it cannot
see it does not call passed.

Exit codes: 0 nothing failed and all of --require passed, 1 something did not, 2 usage, 3 cannot reach the mesh.

Examples:
  mesh-six verify
  mesh-six verify M1.3 M1.11 E.9
  mesh-six verify --require M1.1,M1.3,M1.11,E.9 --json
  mesh-six verify --cluster --junit verify.xml"
)]
pub(crate) struct CriteriaArgs {
    /// Only these criteria, such as M1.11 or all of M1
    #[arg(value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// These must pass: anything else, also not applicable, fails the command
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) require: Vec<String>,
    /// What the tasks ask for
    #[arg(long, default_value = "general-query")]
    pub(crate) capability: String,
    /// Where the event log is read, if it is not the mesh's address
    #[arg(long, env = "MESH_SIX_EVENTS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) events_url: Option<String>,
    /// Also write the findings to this file, as JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) around: AroundArgs,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// The cluster that the mesh runs in.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    /// Look at the cluster too: with the pod's own account, else by the kubeconfig
    #[arg(long)]
    pub(crate) cluster: bool,
    /// Look at the cluster of this kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The mesh's namespace
    #[arg(long, default_value = "mesh-six", value_name = "NAME")]
    pub(crate) namespace: String,
    /// Argo CD's namespace
    #[arg(long, default_value = "argocd", value_name = "NAME")]
    pub(crate) argocd_namespace: String,
}

/// What stands around the mesh, where no cluster tells of it.
#[derive(Args)]
pub(crate) struct AroundArgs {
    /// HTTP address of a service's Dapr sidecar (may be given several times)
    #[arg(
        long = "sidecar",
        env = "MESH_SIX_SIDECARS",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "APP=URL"
    )]
    pub(crate) sidecars: Vec<String>,
    /// Address of a sidecar's metrics (may be given several times)
    #[arg(
        long = "sidecar-metrics",
        env = "MESH_SIX_SIDECAR_METRICS",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "APP=URL"
    )]
    pub(crate) sidecar_metrics: Vec<String>,
    /// The token that these sidecars want, if they want one
    #[arg(long, env = "DAPR_API_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) dapr_api_token: Option<String>,
    /// Where traces are kept, by Tempo's API
    #[arg(long = "traces", env = "MESH_SIX_TRACES_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) traces: Option<String>,
    /// The Prometheus that scrapes the mesh
    #[arg(long, env = "PROMETHEUS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) prometheus: Option<String>,
}
