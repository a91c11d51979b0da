"""What the proxy actors take of the cluster."""

from dataclasses import dataclass

import ray
import torch

from ards_ray.config import ProxySettings, RuntimeSettings
from ards_ray.errors import SettingsError


@dataclass(frozen=True)
class Workers:
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
        each = f"{self.gpus} GPU" if self.gpus else f"{self.cpus:g} CPU"
        return f"{self.count} of {each} each"


def plan_workers(runtime: RuntimeSettings, asked: str, device: str) -> Workers:
    """The pool for this cluster: one GPU for each actor where there are GPUs, logical ones too.

    Actors hold what they reserve for ever, and the tasks that prepare their shards need a CPU, or the job hangs:
    on CPUs the actors together get all but one.

    Args:
        runtime: The settings of the pool.
        asked: The device as the user stated it.
        device: The device that the proxy computes on.

    Raises:
        SettingsError: no node has a CPU, there are too many workers, or GPUs are asked for and the cluster has none.
    """
    resources = ray.cluster_resources()
    cpus, gpus = resources.get("CPU", 0.0), int(resources.get("GPU", 0))
    if not any(node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes() if node["Alive"]):
        raise SettingsError("no node has a CPU for the tasks that prepare the shards; add a node with CPUs")
    if device == "cuda" or (asked == "auto" and gpus):
        if runtime.workers == "auto" and not gpus:
            raise SettingsError(
                "proxy.device is cuda and the cluster has no GPU now; if it grows on demand, state runtime.workers"
            )
        return Workers(gpus if runtime.workers == "auto" else runtime.workers, cpus=0, gpus=1)
    count = max(1, int(cpus) - 1) // runtime.threads if runtime.workers == "auto" else runtime.workers
    count = max(1, count)
    spare = cpus - 1
    if spare <= 0:
        spare = cpus / 2
    # Rounded down to Ray's granularity, so that the sum never exceeds what is there.
    each = int(min(float(runtime.threads), spare / count) * 1000) / 1000
    if each <= 0:
        raise SettingsError(f"runtime.workers: {count} actors are too many for {cpus:g} CPUs")
    return Workers(count, cpus=each, gpus=0)


def resolve_device(proxy: ProxySettings) -> tuple[str, str]:
    """Device and dtype for `auto`: what a GPU of the cluster says it is, or the CPU where there is none.

    A logical GPU, one that Ray counts and torch does not see, is a CPU.
    """
    device = proxy.device
    if device == "auto":
        device = "cpu"
        if ray.cluster_resources().get("GPU", 0) > 0:
            probe = ray.remote(num_cpus=0, num_gpus=1)(torch.cuda.is_available)
            device = "cuda" if ray.get(probe.remote()) else "cpu"
    dtype = proxy.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    return device, dtype
