"""Ray nodes as a user starts them: `ray start` with token authentication, then `ray job submit`.

Every port is the test's own, the home folder with the token too, so that a Ray of the user's beside it is left alone;
for the same reason nothing here calls `ray stop`, which ends every Ray of the machine.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
# For a machine that is busy with other things.
PATIENCE = 300.0
OWN_PORTS = (
    "node-manager",
    "object-manager",
    "dashboard-agent-listen",
    "dashboard-agent-grpc",
    "metrics-export",
    "runtime-env-agent",
)
SECOND_ADDRESS = "127.0.0.2"


class Nodes:
    """The nodes of one cluster, each a child process in a group of its own."""

    def __init__(self) -> None:
        # A short path: sockets lie under it.
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = kept | {
            "HOME": str(self.folder / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._dashboard = ""
        self._address = ""
        self._token = ""

    def start_head(self, *resources: str) -> None:
        """`ray get-auth-token --generate` and `ray start --head`."""
        generate = ["ray", "get-auth-token", "--generate"]
        done = subprocess.run(
            generate, env=self.environment, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        self._token = done.stdout.strip()
        port, dashboard = free_port(), free_port()
        self._dashboard = f"http://127.0.0.1:{dashboard}"
        self._start(
            ["--head", f"--temp-dir={self.folder}", "--dashboard-host=127.0.0.1", *resources],
            {"": port, "dashboard": dashboard, "ray-client-server": free_port()},
        )
        (head,) = self._wait(self._alive, lambda nodes: len(nodes) == 1, "the head node")
        self._address = f"{head}:{port}"

    def start_second(self, *resources: str, hidden: Path) -> None:
        """`ray start --address`, for a node that sees an empty folder where the head sees `hidden`.

        Ray's folder for the packages of jobs is hidden as well, as it is between machines: each node unpacks a package
        that it does not know in place of what is there, under the processes that work in it.
        """
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        (packages,) = self.folder.glob("session_2*/runtime_resources")
        mount = 'mount -t tmpfs none "$0" && mount -t tmpfs none "$1" && shift && exec "$@"'
        self._start(
            [f"--address={self._address}", f"--node-ip-address={SECOND_ADDRESS}", *resources],
            {},
            before=["unshare", "--mount", *as_root, "sh", "-c", mount, str(hidden), str(packages)],
        )
        self._wait(self._alive, lambda nodes: SECOND_ADDRESS in nodes, "the second node")

    def submit(self, *arguments: object, script: str = "select.py") -> subprocess.CompletedProcess[str]:
        """`ray job submit` from the repository, tried until the cluster takes jobs; it ends when the job has ended."""
        job = ["python", f"jobs/{script}", *map(str, arguments)]
        command = ["ray", "job", "submit", "--address", self._dashboard, "--working-dir", ".", "--", *job]
        deadline = monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=3 * PATIENCE,
            )
            if "submitted successfully" in done.stdout:
                return done
            assert monotonic() < deadline, f"the cluster takes no jobs: {done.stdout}"
            sleep(1)

    def actors(self, name: str) -> list[dict[str, Any]]:
        """What Ray remembers of the actors of a class, of all jobs, when they have ended."""

        def read() -> list[dict[str, Any]]:
            found = self._get("/api/v0/actors?detail=1")["result"]["result"]
            return [actor for actor in found if name in actor["class_name"]]

        return self._wait(read, lambda actors: all(actor["state"] == "DEAD" for actor in actors), "the actors' end")

    def packages(self) -> list[Path]:
        """The working folders that jobs brought along, unpacked."""
        return [path for path in self.folder.glob("session_2*/runtime_resources/working_dir_files/*") if path.is_dir()]

    def stop(self) -> None:
        """End what was started here and remove its files."""
        for process in self._processes:
            # Asked to end, a node would first wait half a minute for its work.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        deadline = monotonic() + PATIENCE
        while (left := _processes_in(self.folder)) and monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            sleep(0.2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, options: Sequence[str], ports: Mapping[str, int], before: Sequence[str] = ()) -> None:
        named = {name: free_port() for name in OWN_PORTS} | ports
        options = [*options, *(f"--{name}-port={port}".replace("---", "--") for name, port in named.items())]
        # With 0 the system chooses: two nodes on a machine would fight for Ray's own range.
        command = [*before, "ray", "start", "--block", "--min-worker-port=0", "--max-worker-port=0", *options]
        log = self.folder / f"start-{len(self._processes)}.log"
        with log.open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    command, env=self.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
            )

    def _alive(self) -> list[str]:
        summary = self._get("/nodes?view=summary")["summary"]
        return [node["ip"] for node in summary if node["raylet"].get("state") == "ALIVE"]

    def _get(self, path: str) -> Any:
        request = Request(self._dashboard + path, headers={"Authorization": f"Bearer {self._token}"})
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def _wait(self, read: Callable[[], list[Any]], enough: Callable[[list[Any]], bool], what: str) -> list[Any]:
        deadline = monotonic() + PATIENCE
        while True:
            try:
                found = read()
                if enough(found):
                    return found
            except (OSError, KeyError, TypeError):
                found = []
            ended = [process.args for process in self._processes if process.poll() is not None]
            if ended or monotonic() > deadline:
                logs = "\n".join(log.read_text() for log in sorted(self.folder.glob("start-*.log")))
                raise AssertionError(f"waited in vain for {what}; ended: {ended}; found: {found}\n{logs}")
            sleep(0.5)


def free_port() -> int:
    """A free port below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port


def _processes_in(folder: Path) -> list[int]:
    """Processes that have a file of the folder open: Ray's workers, whose names and groups are their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if Path(os.readlink(entry)).is_relative_to(folder):
                found.append(int(entry.parts[2]))
        except OSError:
            continue
    return sorted(set(found) - {os.getpid()})
