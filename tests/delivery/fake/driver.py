"""The driver of a VM test whose machine is well, without a machine: it knows the commands that the script may give and
answers with the files of the folder ANSWERS. So the script runs through on what the real programs say."""

import contextlib
import os
import pathlib
import re
import unittest
from collections.abc import Iterator

KUBECTL = "k3s kubectl --namespace mesh-six"
DAPR = "k3s kubectl --namespace dapr-system"
# What is asked, and the file that answers; None where only success matters.
COMMANDS: list[tuple[str, str | None]] = [
    (r"runuser --user postgres -- psql --quiet .* --file /etc/mesh-six/database.sql", None),
    (r"runuser --user postgres -- psql --command \"ALTER ROLE \w+ PASSWORD '[\w-]+'\"", None),
    (r"rabbitmqctl (add_user|set_permissions) mesh-six .*", None),
    (r"k3s kubectl get serviceaccount default", None),
    (rf"{DAPR} get deployment/dapr-[a-z-]+", None),
    (rf"{DAPR} rollout status deployment/dapr-[a-z-]+ --timeout=600s", None),
    (r"k3s kubectl apply --filename /etc/mesh-six/cluster.json", None),
    (rf"{KUBECTL} apply --server-side --filename /etc/mesh-six/phases/(presync|sync|postsync).yaml", None),
    (rf"{KUBECTL} get job/(migrate|verify) --output jsonpath='[^']+'( \| grep .*)?", "conditions"),
    (rf"{KUBECTL} logs job/migrate", "migrate"),
    (rf"{KUBECTL} logs job/verify", "verify"),
    (rf"{KUBECTL} get deployments --output json", "deployments"),
    (rf"{KUBECTL} rollout status deployment/[a-z-]+ --timeout=600s", None),
    (rf"{KUBECTL} get pods( --selector app)? --output json", "pods"),
]
ANSWERS = pathlib.Path(os.environ["ANSWERS"])
t = unittest.TestCase()


class Machine:
    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        return "".join(self.answer(command) for command in commands)

    def answer(self, command: str) -> str:
        for pattern, file in COMMANDS:
            if re.fullmatch(pattern, command):
                return (ANSWERS / file).read_text() if file else ""
        raise AssertionError(f"nobody expects the command {command}")

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        return self.answer(command)

    def wait_for_unit(self, unit: str, user: str | None = None, timeout: int = 900) -> None:
        t.assertIn(unit, ("postgresql", "rabbitmq", "redis-mesh-six", "k3s"))

    def log(self, msg: str) -> None:
        print(msg)


machine = Machine()


def start_all() -> None:
    pass


@contextlib.contextmanager
def subtest(name: str) -> Iterator[None]:
    print(name)
    yield
