"""The proxy in this process."""

from functools import lru_cache

import torch

from ards_ray.config import Settings
from ards_ray.errors import SettingsError
from ards_ray.models.checkpoint import checkpoint_digest, checkpoint_folder
from ards_ray.models.family import ProxyInputs, ProxyModel, load_inputs, load_model


def load_proxy(settings: Settings, model: str) -> ProxyModel:
    """The proxy in this process, which then computes with the settings' number of threads.

    Raises:
        SettingsError: the checkpoint is not the one of the run, or cannot be loaded.
    """
    folder = checkpoint_folder(str(settings.proxy.model))
    if checkpoint_digest(folder) != model:
        raise SettingsError(f"{folder}: not the checkpoint that the job was started with")
    torch.set_num_threads(settings.runtime.threads)
    # Imported late: workers of the other stages do not wait for it.
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    return load_model(folder, settings.proxy)


@lru_cache(maxsize=1)
def proxy_inputs(model: str) -> ProxyInputs:
    """The proxy's text and picture side in this process."""
    return load_inputs(checkpoint_folder(model))
