"""Every node sees the same output, images and model: looked at before any work, and images where a process begins."""

import socket
import uuid
from collections.abc import Sequence
from functools import lru_cache

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ards_ray.config import Links, Settings
from ards_ray.corpus.images import has_image
from ards_ray.errors import ArdsError, SettingsError
from ards_ray.models.checkpoint import checkpoint_digest, checkpoint_folder
from ards_ray.run.directory import RUN_FILE, RunDirectory
from ards_ray.storage.location import locate


def check_nodes(run: RunDirectory, settings: Settings, model: str, images: Sequence[str] = ()) -> None:
    """Check on each node that output, corpus, images, model and adapter are there, and are the same as here.

    Args:
        run: The run.
        settings: The run's settings.
        model: Digest of the checkpoint here.
        images: Some image paths of the corpus that exist here.

    Raises:
        SettingsError: names the nodes and what they do not see.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    mark = f".reachable.{uuid.uuid4().hex}"
    (run.location / mark).write(b"")
    try:
        check = ray.remote(num_cpus=0, max_retries=0)(problems_here)
        answers = [
            check.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
            ).remote(run.url, mark, settings, model, list(images))
            for node in nodes
        ]
        problems = [
            f"node {node['NodeManagerAddress']} ({node['NodeName']}): {problem}"
            for node, found in zip(nodes, ray.get(answers), strict=True)
            for problem in found
        ]
    finally:
        run.location.filesystem.delete_file((run.location / mark).path)
    if problems:
        raise SettingsError(
            "not every node of the cluster sees the same files; put them on shared storage or at a URL:\n  "
            + "\n  ".join(problems)
        )


def problems_here(output: str, mark: str, settings: Settings, model: str, images: Sequence[str]) -> list[str]:
    """What this node does not see of output, corpus, images, model and adapter."""
    problems = []
    if not RunDirectory(output).exists(mark):
        problems.append(f"the output folder {output} is another one here")
    if settings.corpus.images is not None:
        problem = _images_problem(settings.corpus.images, images, settings.corpus.links)
        problems += [] if problem is None else [problem]
    problems += [f"the file {file} is missing" for file in settings.corpus.files if not locate(file).exists()]
    if settings.runtime.reuse is not None and not RunDirectory(settings.runtime.reuse).exists(RUN_FILE):
        problems.append(f"the run {settings.runtime.reuse} is missing")
    if settings.proxy.adapter is not None and not locate(settings.proxy.adapter).exists():
        problems.append(f"the adapter {settings.proxy.adapter} is missing")
    try:
        if checkpoint_digest(checkpoint_folder(str(settings.proxy.model))) != model:
            problems.append(f"the model {settings.proxy.model} is another one here")
    except ArdsError as error:
        problems.append(str(error))
    return problems


def check_images_here(settings: Settings, images: Sequence[str]) -> None:
    """Check once in this process that the image folder is here: its node may have joined after the job began.

    Args:
        settings: The run's settings.
        images: Some image paths of the corpus that existed when the job began.

    Raises:
        ArdsError: names the node and what it does not see.
    """
    if settings.corpus.images is not None:
        _check_images(settings.corpus.images, tuple(images), settings.corpus.links)


@lru_cache(maxsize=1)
def _check_images(folder: str, images: tuple[str, ...], links: Links) -> None:
    problem = _images_problem(folder, images, links)
    if problem is not None:
        raise ArdsError(
            f"node {ray.util.get_node_ip_address()} ({socket.gethostname()}): {problem}, which was there when the job "
            "began; put it on shared storage or at a URL, or take the node out of the cluster, and run the same "
            "command again. All that was scored is kept"
        )


def _images_problem(url: str, images: Sequence[str], links: Links) -> str | None:
    """What is not here of the image folder, None if nothing."""
    folder = locate(url)
    try:
        if not folder.exists():
            return f"the image folder {folder.url} is missing"
        missing = [name for name in images if not has_image(name, folder, links)]
    except OSError as error:
        return f"the image folder {folder.url} cannot be looked at ({error})"
    return f"the image folder {folder.url} lacks {missing[0]}" if missing else None
