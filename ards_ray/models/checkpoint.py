"""Where a checkpoint lies, and what tells it from another."""

import hashlib
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from ards_ray.errors import SettingsError

SMALL_FILES = ("*.json", "*.model", "*.jinja")
CHECKPOINT_FILES = (*SMALL_FILES, "*.safetensors")
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SAMPLE_BYTES = 1 << 20


def checkpoint_folder(name: str, weights: bool = True) -> Path:
    """The folder of a checkpoint: the folder itself, or that of a name on the hub, fetched if it is not there yet.

    Args:
        name: Folder, or name on the hub.
        weights: Fetch the weights too, not only configuration and tokenizer.

    Raises:
        SettingsError: it is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise SettingsError(f"{name}: no such folder; it must be a checkpoint folder or a name on the hub")
    try:
        return Path(snapshot_download(name, allow_patterns=list(CHECKPOINT_FILES if weights else SMALL_FILES)))
    except (OSError, ValueError, HFValidationError) as error:
        raise SettingsError(f"{name}: no such folder, and the hub does not give it ({error})") from error


def adapter_folder(adapter: str) -> Path:
    """The folder of a PEFT adapter.

    Raises:
        SettingsError: there is none.
    """
    for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG):
        if not (Path(adapter) / name).is_file():
            raise SettingsError(f"{adapter}: no {name} here; it must be a PEFT adapter")
    return Path(adapter)


def checkpoint_digest(folder: Path) -> str:
    """A digest of a checkpoint: of each file the size and a megabyte at either end, small files whole.

    Training changes every weight, so two checkpoints cannot agree in all of that.
    """
    sha = hashlib.sha256()
    for file in sorted(file for pattern in CHECKPOINT_FILES for file in folder.glob(pattern)):
        size = file.stat().st_size
        with file.open("rb") as stream:
            sha.update(f"{file.name} {size}\n".encode())
            sha.update(stream.read(SAMPLE_BYTES))
            stream.seek(max(stream.tell(), size - SAMPLE_BYTES))
            sha.update(stream.read())
    return sha.hexdigest()
