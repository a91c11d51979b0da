"""What the proxy actors take of the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import ray
import torch

from ards_ray.config import ProxySettings, RuntimeSettings
from ards_ray.errors import SettingsError

PROBE_SECONDS = 120


@dataclass(frozen=True)
class Pool:
    """The pool of proxy actors.

    Attributes:
        count: Actors.
        cpus: CPUs reserved for each.
        gpus: GPUs reserved for each.
    """

    count: int
    cpus: float
    gpus: int

    def __str__(self) -> str:
        if self.gpus:
            return f"{self.count} of {self.gpus} GPU each"
        return f"{self.count} of {self.cpus:g} CPU each" if self.cpus else f"{self.count} that share the CPUs"


def plan_workers(runtime: RuntimeSettings, asked: str, device: str) -> Pool:
    """The pool for this cluster: one GPU for each actor where there are GPUs, logical ones too.

    Actors hold what they reserve for ever, and the tasks that prepare their shards need a CPU, or the job hangs:
    on CPUs the actors leave one.

    Args:
        runtime: The settings of the pool.
        asked: The device as the user stated it.
        device: The device that the proxy computes on.

    Raises:
        SettingsError: no node has a CPU, or GPUs are asked for and the cluster has none and workers are not stated.
    """
    nodes = [cpus for node in ray.nodes() if node["Alive"] and (cpus := node["Resources"].get("CPU", 0)) >= 1]
    gpus = int(ray.cluster_resources().get("GPU", 0))
    on_gpus = device == "cuda" or (asked == "auto" and gpus > 0)
    if on_gpus and runtime.workers != "auto":
        return Pool(runtime.workers, cpus=0, gpus=1)
    if on_gpus and not gpus:
        raise SettingsError(
            "the device is cuda and the cluster has no GPU now; if it grows on demand, state the number of workers"
        )
    if not nodes:
        raise SettingsError("no node has a CPU for the tasks that prepare the shards; add a node with CPUs")
    if on_gpus:
        return Pool(gpus, cpus=0, gpus=1)
    auto = max(1, (int(sum(nodes)) - 1) // runtime.threads)
    count = auto if runtime.workers == "auto" else runtime.workers
    return Pool(count, cpus=_cpu_share(nodes, count, runtime.threads), gpus=0)


def plan_replicas(runtime: RuntimeSettings, asked: str, device: str, share: int) -> Pool:
    """The pool of an evaluation, whose replicas may take several GPUs each.

    Args:
        runtime: The settings of the pool.
        asked: The device as the user stated it.
        device: The device that the model computes on.
        share: GPUs of a replica.

    Raises:
        SettingsError: see `plan_workers`; or no node has so many GPUs.
    """
    workers = plan_workers(runtime, asked, device)
    if share == 1:
        return workers
    if not workers.gpus:
        raise SettingsError("--tensor-parallel: the cluster has no GPUs to share a replica")
    # The GPUs of a replica are those of one node.
    room = sum(int(node["Resources"].get("GPU", 0)) // share for node in ray.nodes() if node["Alive"])
    if not room:
        raise SettingsError(f"--tensor-parallel: {share} GPUs for a replica, and no node has as many")
    count = room if runtime.workers == "auto" else workers.count
    return Pool(count, cpus=workers.cpus, gpus=share)


def _cpu_share(nodes: Sequence[float], count: int, threads: int) -> float:
    """CPUs that each of `count` actors may hold so that a whole one is left on some node, wherever Ray puts them.

    As many as threads, or as many as there are for each; 0 where even that could leave only fractions.
    """
    for share in (float(threads), int((sum(nodes) - 1) / count * 1000) / 1000):
        # The actors that it takes until no node has a whole CPU left.
        if 0 < share <= max(nodes) and count < sum(int((cpus - 1) / share) + 1 for cpus in nodes):
            return share
    return 0.0


def resolve_device(proxy: ProxySettings) -> tuple[str, str]:
    """Device and dtype for `auto`: what a GPU of the cluster says it is, or the CPU where there is none.

    A logical GPU, one that Ray counts and torch does not see, is a CPU.

    Raises:
        SettingsError: the cluster's GPUs are all taken.
    """
    device = proxy.device
    if device == "auto":
        device = "cpu"
        if ray.cluster_resources().get("GPU", 0) > 0:
            probe = ray.remote(num_cpus=0, num_gpus=1)(torch.cuda.is_available)
            try:
                device = "cuda" if ray.get(probe.remote(), timeout=PROBE_SECONDS) else "cpu"
            except ray.exceptions.GetTimeoutError as error:
                raise SettingsError(
                    f"no GPU of the cluster was free within {PROBE_SECONDS} s; free one, or state the device"
                ) from error
    dtype = proxy.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    return device, dtype
