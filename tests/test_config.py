"""Settings: the documented defaults, and values that will not do refused before any work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ards_ray.config import Settings, to_dict
from ards_ray.errors import SettingsError
from ards_ray.validation import check_settings

# As documented; changing one changes everybody's mixture.
DEFAULTS: dict[str, dict[str, Any]] = {
    "corpus": {"files": [], "images": None, "links": "refuse"},
    "proxy": {"model": None, "adapter": None, "dtype": "auto", "device": "auto", "vector": "attention"},
    "attacks": {
        "symbol": True,
        "permutation": True,
        "noise": True,
        "symbols": "QWERTYU",
        "permutations": 1,
        "noise_step": 300,
    },
    "subgroups": {
        "cluster": True,
        "perturb": True,
        "per_format": 10,
        "members": 50,
        "candidates": "all",
        "criterion": "loss",
        "versions": "clean",
        "run": None,
    },
    "vectors": {"center": False},
    "score": {"aggregate": "weighted-sum", "similarity": "mean", "temperature": 1.0},
    "mixture": {"budget": 0.3, "exclude_members": True, "quota": "none"},
    "limits": {"failed_fraction": 0.05, "positions": 2048, "pixels": 100_000_000},
}


def with_value(key: str, value: Any) -> Settings:
    """The default settings but for one."""
    settings = Settings()
    group, _, name = key.rpartition(".")
    if not group:
        return replace(settings, **{name: value})
    return replace(settings, **{group: replace(getattr(settings, group), **{name: value})})


def test_defaults_are_the_documented_ones() -> None:
    """They are the published method's; a slip here would be in every run that does not name them."""
    values = to_dict(Settings())
    assert values.pop("runtime")
    assert (values.pop("seed"), values.pop("output"), values.pop("methods")) == (42, None, ["ards"])
    assert values == DEFAULTS
    check_settings(Settings())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mixture.budget", 0),
        ("mixture.budget", -1),
        ("mixture.budget", -0.3),
        ("mixture.budget", 1.0),
        ("mixture.budget", 1.5),
        ("mixture.budget", float("nan")),
        ("mixture.budget", float("inf")),
        ("attacks.symbols", ""),
        ("attacks.symbols", "Q"),
        ("attacks.symbols", "QQ"),
        ("attacks.permutations", 0),
        ("attacks.noise_step", -1),
        ("attacks.noise_step", 1000),
        ("subgroups.per_format", 0),
        ("subgroups.per_format", 1001),
        ("subgroups.members", 0),
        ("subgroups.candidates", 0),
        ("score.temperature", 0),
        ("score.temperature", -1.0),
        ("score.temperature", float("nan")),
        ("limits.failed_fraction", -0.1),
        ("limits.failed_fraction", 1.1),
        ("limits.positions", 1),
        ("limits.pixels", 0),
        ("runtime.workers", 0),
        ("runtime.threads", 0),
        ("runtime.shard_size", 0),
        ("runtime.batch_positions", 0),
        ("seed", -1),
        ("seed", 2**31),
    ],
)
def test_values_that_will_not_do(key: str, value: Any) -> None:
    """Found after hours of scoring, a wrong value costs those hours."""
    with pytest.raises(SettingsError, match=f"^{key}: .*must be") as error:
        check_settings(with_value(key, value))
    assert str(value) in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("subgroups.members", "20", "a whole number, 1 or more, got 20"),
        ("subgroups.members", True, "a whole number, 1 or more, got true"),
        ("attacks.permutations", 1.0, "a whole number, 1 or more, or all, got 1.0"),
        ("attacks.noise", 1, "true or false, got 1"),
        ("proxy.dtype", "half", "auto, float32, bfloat16 or float16, got half"),
        ("corpus.files", "a.json", "a list of texts, got a.json"),
        ("output", Path("runs"), 'text or null, got "runs"'),
        ("seed", None, "a whole number, 0 to 2147483647, got null"),
    ],
)
def test_types_that_will_not_do(key: str, value: Any, message: str) -> None:
    """Python does not check the types of settings, and a wrong one would stop a run in the middle."""
    with pytest.raises(SettingsError) as error:
        check_settings(with_value(key, value))
    assert str(error.value) == f"{key}: must be {message}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("corpus.files", ["a.json"]),
        ("mixture.budget", 0.3),
        ("mixture.budget", 1e-6),
        ("mixture.budget", 0.999),
        ("mixture.budget", 1),
        ("mixture.budget", 5),
        ("attacks.symbols", "ab"),
        ("attacks.permutations", "all"),
        ("attacks.permutations", 120),
        ("attacks.noise_step", 0),
        ("attacks.noise_step", 999),
        ("subgroups.candidates", 1),
        ("score.temperature", 0.01),
        ("limits.failed_fraction", 0),
        ("limits.failed_fraction", 1),
        ("runtime.workers", "auto"),
        ("seed", 0),
        ("seed", 2**31 - 1),
    ],
)
def test_values_at_their_limits(key: str, value: Any) -> None:
    """What is documented must work."""
    check_settings(with_value(key, value))
