import json

DAPR = ("dapr-operator", "dapr-sentry", "dapr-sidecar-injector")
KUBECTL = "k3s kubectl --namespace mesh-six"


def apply(phase: str) -> None:
    """Applies one phase of the manifests as Argo CD does, on the server's side."""
    machine.succeed(f"{KUBECTL} apply --server-side --filename /etc/mesh-six/phases/{phase}.yaml")


def finished(job: str) -> str:
    """Waits until a Job has ended, which must be well, and gives what it printed."""
    conditions = f"{KUBECTL} get job/{job} --output jsonpath='{{.status.conditions[*].type}}'"
    machine.wait_until_succeeds(f"{conditions} | grep --word-regexp --regexp Complete --regexp Failed", timeout=900)
    printed = machine.succeed(f"{KUBECTL} logs job/{job}")
    t.assertIn("Complete", machine.succeed(conditions).split(), printed)
    return printed


start_all()

with subtest("the servers of the host are up"):
    for unit in ("postgresql", "rabbitmq", "redis-mesh-six", "k3s"):
        machine.wait_for_unit(unit)
    machine.succeed("runuser --user postgres -- psql --quiet --set ON_ERROR_STOP=1 --file /etc/mesh-six/database.sql")
    for role in ("mesh_six", "mesh_six_owner"):
        machine.succeed(f"runuser --user postgres -- psql --command \"ALTER ROLE {role} PASSWORD 'for-this-machine'\"")
    machine.succeed("rabbitmqctl add_user mesh-six for-this-machine")
    machine.succeed("rabbitmqctl set_permissions mesh-six '.*' '.*' '.*'")

with subtest("Dapr's control plane is up"):
    machine.wait_until_succeeds("k3s kubectl get serviceaccount default", timeout=300)
    for name in DAPR:
        machine.wait_until_succeeds(f"k3s kubectl --namespace dapr-system get deployment/{name}", timeout=600)
        machine.succeed(f"k3s kubectl --namespace dapr-system rollout status deployment/{name} --timeout=600s")

with subtest("the cluster has what it has before Argo CD comes"):
    machine.succeed("k3s kubectl apply --filename /etc/mesh-six/cluster.json")

with subtest("M1.10: PreSync brings the empty database to the newest schema"):
    apply("presync")
    t.assertIn("applied", finished("migrate"))

with subtest("M1.9: Sync: every service is up, beside its sidecar"):
    apply("sync")
    deployments = json.loads(machine.succeed(f"{KUBECTL} get deployments --output json"))["items"]
    names = [deployment["metadata"]["name"] for deployment in deployments]
    t.assertIn("orchestrator", names)
    for name in names:
        machine.succeed(f"{KUBECTL} rollout status deployment/{name} --timeout=600s")
    for pod in json.loads(machine.succeed(f"{KUBECTL} get pods --selector app --output json"))["items"]:
        if pod["metadata"]["labels"]["app"] in names:
            sidecars = [container["name"] for container in pod["spec"].get("initContainers", [])]
            t.assertIn("daprd", sidecars, pod["metadata"]["name"])

with subtest("PostSync: the acceptance criteria hold"):
    apply("postsync")
    report = json.loads(finished("verify"))
    for criterion in report["criteria"]:
        machine.log(f"{criterion['id']}: {criterion['verdict']} {criterion.get('reason', '')}")
    t.assertEqual((report["failed"], report["requiredButNotPassed"]), (0, []))
    passed = [criterion["id"] for criterion in report["criteria"] if criterion["verdict"] == "pass"]
    for wanted in ("M1.3", "M1.7", "M1.8", "M1.9", "M1.10", "M1.11", "M1.13", "E.9"):
        t.assertIn(wanted, passed)

with subtest("D.2: nothing was restarted"):
    for pod in json.loads(machine.succeed(f"{KUBECTL} get pods --output json"))["items"]:
        for container in pod["status"].get("containerStatuses", []):
            t.assertEqual(container["restartCount"], 0, pod["metadata"]["name"])
