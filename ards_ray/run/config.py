"""The settings with which a run was last started."""

from dataclasses import asdict
from typing import Any

import yaml

from ards_ray.run.directory import CONFIG_FILE, RunDirectory


def write_config(run: RunDirectory, settings: Any) -> None:
    """Write the settings, unless they are there already."""
    content = yaml.safe_dump(asdict(settings), sort_keys=False, allow_unicode=True).encode()
    if not run.exists(CONFIG_FILE) or run.read_bytes(CONFIG_FILE) != content:
        run.write_bytes(CONFIG_FILE, content)
