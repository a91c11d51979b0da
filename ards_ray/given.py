"""Settings as users write them: YAML files, KEY=VALUE, options. What is wrong is told in their words."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ards_ray.errors import SettingsError
from ards_ray.plain_yaml import NotPlain, parsed, plain
from ards_ray.validation import accepted, annotations_of, shown, validated
from ards_ray.words import nearest

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class Given:
    """A setting or a section of settings as it was given.

    Attributes:
        key: Its key.
        value: Its value: what YAML made of it, or its text.
        name: The setting as its user wrote it.
    """

    key: str
    value: Any
    name: str


def settings_of(kind: type[_Settings], given: Sequence[Given]) -> _Settings:
    """The settings, the later ones before the earlier ones; what is not given has its default.

    Args:
        kind: The class of settings.
        given: What was given of them.

    Raises:
        SettingsError: a key is unknown, or a value is not what it must be.
    """
    annotations = annotations_of(kind)
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in (one for item in given for one in _flat(annotations, item)):
        section, _, name = one.key.rpartition(".")
        values[section][name] = validated(annotations[one.key], _readings(one.value), one.name)
    return kind(**values.pop("", {}), **{name: annotations[name](**inner) for name, inner in values.items()})


def print_settings(settings: Any) -> None:
    """Print settings as YAML, which --config reads."""
    print(yaml.safe_dump(asdict(settings), sort_keys=False), end="")


def given_by(
    options: Namespace, kind: type, shorthands: Mapping[str, str], presets: Sequence[Path] = ()
) -> list[Given]:
    """The settings of a command line, what goes before the other last: of --config, of --set, of their own options.

    Args:
        options: The command line.
        kind: The class of settings.
        shorthands: The options of their own, and the settings that they stand for.
        presets: Files that --config may name without their folder and ending.

    Raises:
        SettingsError: the file holds no such settings, or an assignment is none.
    """
    given, annotations = [], annotations_of(kind)
    if options.config is not None:
        given += _given_in_file(annotations, _config_file(options.config, presets), f"--config {options.config}")
    for assignment in options.assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            example = "section.key=value" if _has_sections(annotations) else "key=value"
            raise SettingsError(f"--set {assignment}: write it as {example}")
        given.append(Given(key, value, f"--set {key}"))
    for option, key in shorthands.items():
        value = getattr(options, option.replace("-", "_"))
        if value is not None:
            given.append(Given(key, value, f"--{option}" if "." not in key else f"--{option}: {key}"))
    return given


def _config_file(name: str, presets: Sequence[Path]) -> Path:
    for path in [Path(name), *(preset for preset in presets if preset.stem == name)]:
        if path.is_file():
            return path
    known = f", and no preset of that name; presets: {', '.join(preset.stem for preset in presets)}" if presets else ""
    raise SettingsError(f"--config {name}: no such file{known}")


def _given_in_file(annotations: Mapping[str, Any], path: Path, source: str) -> list[Given]:
    """The settings of a YAML file.

    Args:
        annotations: Those of the settings that there are.
        path: The file.
        source: The file as its user wrote it.

    Raises:
        SettingsError: it is no YAML, holds no settings, or states one twice.
    """
    try:
        content = parsed(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{source}: not a text file in UTF-8 ({error})") from error
    except NotPlain as error:
        raise SettingsError(f"{source}{error}") from error
    if not isinstance(content, Mapping):
        found = "nothing" if content is None else shown(content)
        example = "subgroups: {members: 20}" if _has_sections(annotations) else "limit: 20"
        raise SettingsError(f"{source}: must hold settings, as in `{example}`, got {found}")
    items = [Given(str(key), value, f"{source}: {key}") for key, value in content.items()]
    given = [one for item in items for one in _flat(annotations, item)]
    seen = set()
    for one in given:
        if one.key in seen:
            raise SettingsError(f"{one.name}: stands there twice; delete one")
        seen.add(one.key)
    return given


def _has_sections(annotations: Mapping[str, Any]) -> bool:
    return any(map(is_dataclass, annotations.values()))


def _flat(annotations: Mapping[str, Any], given: Given) -> Iterator[Given]:
    """The settings of a section, or the setting itself."""
    annotation, content = annotations.get(given.key), plain(given.value)
    if annotation is None:
        raise SettingsError(f"{given.name}: no such setting; {_there_is(annotations, given.key, content)}")
    if not is_dataclass(annotation):
        yield given
    elif not isinstance(content, Mapping):
        raise SettingsError(f"{given.name}: must be {accepted(annotation)}, got {shown(given.value)}")
    else:
        for key, value in content.items():
            yield from _flat(annotations, Given(f"{given.key}.{key}", value, f"{given.name}.{key}"))


def _there_is(annotations: Mapping[str, Any], key: str, content: Any) -> str:
    """What there is instead of a setting that does not exist."""
    sections = [known for known, annotation in annotations.items() if is_dataclass(annotation)]
    near = nearest(key, sections if sections and isinstance(content, Mapping) else list(annotations))
    if near is not None:
        return f"the nearest is {near}: {accepted(annotations[near])}"
    others = [known for known in annotations if "." not in known and known not in sections]
    if not sections:
        return f"there are {', '.join(others)}"
    return f"the sections are {', '.join(sections)}, and there are {', '.join(others[:-1])} and {others[-1]}"


def _readings(value: Any) -> list[Any]:
    """A value, and what YAML makes of it if it is a text. The text null is none."""
    return [None] if value == "null" else [value, plain(value)]
