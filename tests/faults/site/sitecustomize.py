"""Faults for the processes of a test's cluster and its drivers, told by a file that they look at when it matters.

The product knows nothing of this: its functions are wrapped while their modules are imported.
"""

import ctypes
import functools
import importlib.util
import itertools
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = os.environ.get("FAULTS_FILE")


def strike(point: str, subject: str) -> None:
    """Do what the file says of a point: a name of the list in `drivers.py`, and the path, stage, row or call there."""
    for number, fault in enumerate(json.loads(Path(FILE).read_text()) if FILE and os.path.exists(FILE) else []):
        if fault["point"] != point or not re.search(fault["subject"], subject):
            continue
        if fault["times"] is not None and not _claim(f"{FILE}.{number}", fault["times"]):
            continue
        if fault["kind"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault["kind"] == "crash":
            # In this thread: a signal may be handled in another one, and this one would go on.
            ctypes.string_at(0)
        elif fault["kind"] == "wait":
            while True:
                time.sleep(1)
        elif fault["kind"] == "kill driver":
            os.kill(json.loads(Path(fault["run"], "lease.json").read_text())["process"], signal.SIGKILL)
            # Or it would finish what it is at before Ray ends it.
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault["kind"] == "device":
            import torch

            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        elif fault["kind"] == "file limit":
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
            # For this file alone: others of the process, Ray's logs among them, have a disk of their own.
            threading.Timer(30, resource.setrlimit, (resource.RLIMIT_FSIZE, limits)).start()


def _claim(name: str, times: int) -> bool:
    """Whether this is among the first so many times, over all processes."""
    for index in range(times):
        try:
            os.close(os.open(f"{name}.{index}", os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            continue
    return False


def _directory(module: Any) -> None:
    publish, record, replace = module.RunDirectory.publish, module.RunDirectory.record, os.replace

    @functools.wraps(publish)
    def publishing(self: Any, path: str) -> Any:
        strike("before the temporary file", path)
        return publish(self, path)

    @functools.wraps(record)
    def recording(self: Any, path: str, *arguments: Any, **options: Any) -> Any:
        strike("before the manifest entry", path)
        return record(self, path, *arguments, **options)

    @functools.wraps(replace)
    def replacing(source: str, target: str) -> None:
        strike("after the temporary file", str(target))
        replace(source, target)
        strike("after the rename", str(target))

    module.RunDirectory.publish, module.RunDirectory.record, os.replace = publishing, recording, replacing


def _state(module: Any) -> None:
    finish = module.RunState.finish

    @functools.wraps(finish)
    def finishing(self: Any, stage: str, seconds: float) -> None:
        finish(self, stage, seconds)
        strike("between stages", stage)

    module.RunState.finish = finishing


def _prepare(module: Any) -> None:
    prepare = module._prepare

    @functools.wraps(prepare)
    def preparing(conversation: Any, *arguments: Any) -> Any:
        strike("preparing", f"row {conversation.row}.")
        return prepare(conversation, *arguments)

    module._prepare = preparing


def _actor(module: Any) -> None:
    score = module.score_shard

    @functools.wraps(score)
    def scoring(model: Any, settings: Any, shard: Any) -> Any:
        for item in shard.conversations:
            strike("scoring", f"row {item.row}.")
        return score(model, settings, shard)

    module.score_shard = scoring


def _replica(module: Any) -> None:
    reply = module.Replica.reply
    calls = itertools.count(1)

    @functools.wraps(reply)
    def replying(self: Any, inquiries: Any) -> Any:
        strike("answering", f"call {next(calls)}")
        return reply(self, inquiries)

    module.Replica.reply = replying


WRAPPED: dict[str, Callable[[Any], None]] = {
    "ards_ray.run.directory": _directory,
    "ards_ray.run.state": _state,
    "ards_ray.signals.prepare": _prepare,
    "ards_ray.cluster.proxy_actor": _actor,
    "ards_ray.cluster.replica": _replica,
}


class Finder:
    """Finds the modules above as ever, and wraps their functions once they are there."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in WRAPPED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def executing(module: Any) -> None:
            execute(module)
            WRAPPED[name](module)

        spec.loader.exec_module = executing
        return spec


if FILE:
    sys.meta_path.insert(0, Finder())
