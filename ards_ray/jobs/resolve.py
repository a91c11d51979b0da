"""Settings as they mean the same on every node and in every start of a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ards_ray.config import Settings
from ards_ray.errors import SettingsError
from ards_ray.methods.method import Method
from ards_ray.run.state import RunState
from ards_ray.run.workers import Workers
from ards_ray.storage.location import locate


def with_absolute_paths(settings: Settings, methods: Sequence[Method]) -> Settings:
    """The settings with paths that mean the same wherever a task runs.

    Args:
        settings: The settings.
        methods: The methods that they name.

    Raises:
        SettingsError: corpus, output, images or what a method needs are missing, the model where one is asked.
    """
    asks = any(method.signals(settings) for method in methods)
    for key, value, option in (
        ("corpus.files", settings.corpus.files, "--corpus"),
        ("proxy.model", settings.proxy.model or not asks, "--model"),
        ("output", settings.output, "--output"),
    ):
        if not value:
            raise SettingsError(f"{key}: not stated; give {option}")
    images = None if settings.corpus.images is None else locate(settings.corpus.images)
    if images is not None and not images.exists():
        raise SettingsError(f"corpus.images: {images.url} does not exist")
    adapter = _absolute(settings.proxy.adapter)
    for method in methods:
        settings = method.resolved(settings)
    model = None if settings.proxy.model is None else _absolute_model(settings.proxy.model)
    return replace(
        settings,
        corpus=replace(
            settings.corpus,
            files=tuple(locate(file).url for file in settings.corpus.files),
            images=None if images is None else images.url,
        ),
        proxy=replace(settings.proxy, model=model, adapter=adapter),
        subgroups=replace(settings.subgroups, run=_absolute(settings.subgroups.run)),
        runtime=replace(settings.runtime, reuse=_absolute(settings.runtime.reuse)),
        output=locate(str(settings.output)).url,
    )


def _absolute(path: str | None) -> str | None:
    return None if path is None else locate(path).url


def _absolute_model(name: str) -> str:
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name


def resolve_auto(settings: Settings, state: RunState, workers: Workers) -> Settings:
    """Device and dtype for `auto`: those that the run was started with, else those of the workers."""
    before = [record for name, record in state.stages.items() if name.startswith("signals/")]
    if before:
        recorded = before[0].inputs["proxy"]
        device = recorded["device"] if settings.proxy.device == "auto" else settings.proxy.device
        dtype = recorded["dtype"] if settings.proxy.dtype == "auto" else settings.proxy.dtype
    else:
        device, dtype = workers.device()
    return replace(settings, proxy=replace(settings.proxy, device=device, dtype=dtype))
