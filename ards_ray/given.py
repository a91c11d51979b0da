"""Settings as users write them: YAML files, KEY=VALUE, options. What is wrong is told in their words."""

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ards_ray.errors import SettingsError
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
    values = {
        one.key: validated(annotations[one.key], _readings(one.value), one.name)
        for item in given
        for one in _flat(kind, item)
    }
    sections = {
        name: section(**{key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")})
        for name, section in _sections(kind).items()
    }
    return kind(**sections, **{key: value for key, value in values.items() if "." not in key})


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
    given = []
    if options.config is not None:
        given += _given_in_file(kind, _config_file(options.config, presets), f"--config {options.config}")
    for assignment in options.assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            example = "section.key=value" if _sections(kind) else "key=value"
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


def _given_in_file(kind: type, path: Path, source: str) -> list[Given]:
    """The settings of a YAML file.

    Args:
        kind: The class of settings.
        path: The file.
        source: The file as its user wrote it.

    Raises:
        SettingsError: it is no YAML, holds no settings, or states one twice.
    """
    try:
        content = _parsed(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{source}: not a text file in UTF-8 ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = error.problem if isinstance(error, _Twice) else "not valid YAML"
        raise SettingsError(f"{source}{f', line {mark.line + 1}' if mark else ''}: {problem}") from error
    if not isinstance(content, Mapping):
        found = "nothing" if content is None else shown(content)
        example = "subgroups: {members: 20}" if _sections(kind) else "limit: 20"
        raise SettingsError(f"{source}: must hold settings, as in `{example}`, got {found}")
    given = [one for key, value in content.items() for one in _flat(kind, Given(str(key), value, f"{source}: {key}"))]
    seen = set()
    for one in given:
        if one.key in seen:
            raise SettingsError(f"{one.name}: stands there twice; delete one")
        seen.add(one.key)
    return given


def _sections(kind: Any) -> dict[str, Any]:
    """The sections of a class of settings."""
    return {item.name: item.type for item in fields(kind) if is_dataclass(item.type)}


def _flat(kind: type, given: Given) -> Iterator[Given]:
    """The settings of a section, or the setting itself."""
    annotations, sections = annotations_of(kind), _sections(kind)
    if given.key in annotations:
        yield given
        return
    content = _plain(given.value)
    if given.key not in sections:
        near = nearest(given.key, [*sections, *([] if sections and isinstance(content, Mapping) else annotations)])
        raise SettingsError(f"{given.name}: no such setting; {_there_is(kind, near)}")
    if not isinstance(content, Mapping):
        raise SettingsError(f"{given.name}: must be {_described(kind, given.key)}, got {shown(given.value)}")
    for key, value in content.items():
        yield from _flat(kind, Given(f"{given.key}.{key}", value, f"{given.name}.{key}"))


def _there_is(kind: type, near: str | None) -> str:
    if near is not None:
        return f"the nearest is {near}: {_described(kind, near)}"
    sections, others = _sections(kind), [key for key in annotations_of(kind) if "." not in key]
    if not sections:
        return f"there are {', '.join(others)}"
    return f"the sections are {', '.join(sections)}, and there are {' and '.join(others)}"


def _described(kind: type, key: str) -> str:
    """What a setting or a section accepts, in words."""
    if key in _sections(kind):
        return f"a section with {', '.join(item.name for item in fields(_sections(kind)[key]))}"
    return accepted(annotations_of(kind)[key])


def _readings(value: Any) -> list[Any]:
    """A value, and what YAML makes of it if it is a text. The text null is none."""
    return [None] if value == "null" else [value, _plain(value)]


def _plain(value: Any) -> Any:
    """What YAML makes of a value that is a text."""
    if not isinstance(value, str):
        return value
    try:
        return _parsed(value)
    except yaml.YAMLError:
        return value


class _Twice(yaml.MarkedYAMLError):
    """A key stands twice in a mapping."""


class _Loader(yaml.SafeLoader):
    """YAML with decimal numbers and 1e-3, without dates, octal and base 60, and with no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "merge", "null")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _Twice(problem=f"{key.value} stands there twice; delete one", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_WHOLE = r"[-+]?(0|[1-9][0-9_]*)"
for _tag, _pattern in {
    "int": f"^{_WHOLE}$",
    "float": rf"^({_WHOLE}(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list("-+.0123456789"))


def _parsed(text: str) -> Any:
    """What a text says in YAML.

    Raises:
        yaml.YAMLError: it says nothing.
    """
    try:
        return yaml.load(text, _Loader)
    except (RecursionError, ValueError, LookupError, AttributeError) as error:
        # What the library's constructors raise for `!!bool maybe` and its like.
        raise yaml.YAMLError(str(error)) from error
