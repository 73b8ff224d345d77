//! The cluster that the mesh runs in, by the Kubernetes API: what is there is read once and never changed.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, ContainerStatus, Pod, Service},
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::OnceCell;

use super::finding::Outcome;
use crate::{cli::ClusterArgs, exit::Exit};

/// Why nothing can be said of the cluster.
pub(super) const NO_CLUSTER: &str = "needs the cluster: ask with --cluster or --kubeconfig";
/// How long the API may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// More objects of one kind than a mesh has.
const MOST: u32 = 500;
/// The name of Dapr's container in a pod.
const SIDECAR: &str = "daprd";

/// A way to the cluster's API.
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
    argocd: String,
    /// Whether we are a pod of it, and so can reach the others.
    pub(super) inside: bool,
    seen: OnceCell<Seen>,
}

/// What is in the mesh's namespace.
pub(super) struct Seen {
    pub(super) deployments: Vec<Deployment>,
    pub(super) services: Vec<Service>,
    pub(super) pods: Vec<Pod>,
    /// Dapr's.
    pub(super) components: Vec<DynamicObject>,
}

impl Cluster {
    /// The cluster of the command line, if it asks for one.
    pub(super) async fn open(args: &ClusterArgs) -> anyhow::Result<Option<Self>> {
        if !args.cluster && args.kubeconfig.is_none() {
            return Ok(None);
        }
        let (mut config, inside) = config(args).await?;
        config.connect_timeout = Some(ANSWER);
        config.read_timeout = Some(ANSWER);
        let client = Client::try_from(config).map_err(|error| Exit::usage(format!("the cluster: {error}")))?;
        let (namespace, argocd) = (args.namespace.clone(), args.argocd_namespace.clone());
        Ok(Some(Self { client, namespace, argocd, inside, seen: OnceCell::new() }))
    }

    /// What is there, the same for all checks.
    pub(super) async fn seen(&self) -> anyhow::Result<&Seen> {
        self.seen.get_or_try_init(|| self.look()).await
    }

    async fn look(&self) -> anyhow::Result<Seen> {
        let all = ListParams::default().limit(MOST);
        let namespace = &self.namespace;
        let (deployments, services) = (self.api::<Deployment>(), self.api::<Service>());
        let (pods, components) = (self.api::<Pod>(), self.dynamic(namespace, "dapr.io", "v1alpha1", "Component"));
        let (deployments, services, pods, components) =
            tokio::try_join!(deployments.list(&all), services.list(&all), pods.list(&all), components.list(&all))
                .with_context(|| format!("the cluster's API, namespace {namespace}"))?;
        Ok(Seen {
            deployments: deployments.items,
            services: services.items,
            pods: pods.items,
            components: components.items,
        })
    }

    /// Argo CD's Application of this name; `Err` says why that cannot be told.
    pub(super) async fn application(&self, name: &str) -> anyhow::Result<Result<DynamicObject, Outcome>> {
        let namespace = &self.argocd;
        match self.dynamic(namespace, "argoproj.io", "v1alpha1", "Application").get(name).await {
            Ok(application) => Ok(Ok(application)),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                let reason = format!("Argo CD's Application {name} in {namespace} cannot be read: {}", status.message);
                Ok(Err(Outcome::not_applicable(reason)))
            }
            Err(error) => Err(error).context("the cluster's API"),
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn dynamic(&self, namespace: &str, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

/// How to reach the API, and whether from inside of the cluster.
async fn config(args: &ClusterArgs) -> anyhow::Result<(Config, bool)> {
    // A second call finds the provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = KubeConfigOptions::default();
    if let Some(file) = &args.kubeconfig {
        let wrong = |error| Exit::usage(format!("--kubeconfig {}: {error}", file.display()));
        let read = Kubeconfig::read_from(file).map_err(wrong)?;
        return Ok((Config::from_custom_kubeconfig(read, &options).await.map_err(wrong)?, false));
    }
    if let Ok(config) = Config::incluster() {
        return Ok((config, true));
    }
    let config = Config::from_kubeconfig(&options).await;
    let config = config.map_err(|error| Exit::usage(format!("--cluster: neither a pod nor a kubeconfig: {error}")))?;
    Ok((config, false))
}

/// The name of an object, a pod's or whatever's.
pub(super) fn name<K: kube::Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// The service that a pod belongs to, by its label.
pub(super) fn app(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get("app")).map_or("", String::as_str)
}

/// A pod's containers, sidecars that start before it among them.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}

/// How a pod's containers are.
pub(super) fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

/// Dapr's container of a pod, if it has one.
pub(super) fn sidecar(pod: &Pod) -> Option<&Container> {
    containers(pod).find(|container| container.name == SIDECAR)
}

/// Whether a pod is on its way out.
pub(super) fn is_ending(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// A pod's own address.
pub(super) fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}
