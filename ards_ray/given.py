"""Settings as users write them: YAML files, KEY=VALUE, options. What is wrong is told in their words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from ards_ray.config import Settings
from ards_ray.errors import SettingsError
from ards_ray.validation import accepted, annotations_of, shown, validated
from ards_ray.words import nearest

SECTIONS: dict[str, Any] = {item.name: item.type for item in fields(Settings) if is_dataclass(item.type)}
ANNOTATIONS = annotations_of(Settings)


@dataclass(frozen=True)
class Given:
    """A setting or a section of settings as it was given.

    Attributes:
        key: Its key.
        value: Its value: what YAML made of it, or its text.
        source: Where it was given, in front of the key in messages.
    """

    key: str
    value: Any
    source: str

    @property
    def name(self) -> str:
        """The setting as its user wrote it."""
        return f"{self.source}{self.key}"


def settings_of(given: Sequence[Given]) -> Settings:
    """The settings, the later ones before the earlier ones; what is not given has its default.

    Raises:
        SettingsError: a key is unknown, or a value is not what it must be.
    """
    values = {
        one.key: validated(ANNOTATIONS[one.key], _readings(one.value), one.name)
        for item in given
        for one in _flat(item)
    }
    sections = {
        name: kind(**{key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")})
        for name, kind in SECTIONS.items()
    }
    return Settings(**sections, **{key: value for key, value in values.items() if "." not in key})


def given_in_file(path: Path, source: str) -> list[Given]:
    """The settings of a YAML file.

    Args:
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
        raise SettingsError(f"{source}: must hold settings, as in `subgroups: {{members: 20}}`, got {found}")
    given = [one for key, value in content.items() for one in _flat(Given(str(key), value, f"{source}: "))]
    seen = set()
    for one in given:
        if one.key in seen:
            raise SettingsError(f"{one.name}: stands there twice; delete one")
        seen.add(one.key)
    return given


def _flat(given: Given) -> Iterator[Given]:
    """The settings of a section, or the setting itself."""
    if given.key in ANNOTATIONS:
        yield given
        return
    content = _plain(given.value)
    if given.key not in SECTIONS:
        near = nearest(given.key, [*SECTIONS, *([] if isinstance(content, Mapping) else ANNOTATIONS)])
        raise SettingsError(f"{given.name}: no such setting; {_there_is(near)}")
    if not isinstance(content, Mapping):
        raise SettingsError(f"{given.name}: must be {_described(given.key)}, got {shown(given.value)}")
    for key, value in content.items():
        yield from _flat(Given(f"{given.key}.{key}", value, given.source))


def _there_is(near: str | None) -> str:
    if near is None:
        return f"the sections are {', '.join(SECTIONS)}, and there are output and seed"
    return f"the nearest is {near}: {_described(near)}"


def _described(key: str) -> str:
    """What a setting or a section accepts, in words."""
    if key in SECTIONS:
        return f"a section with {', '.join(item.name for item in fields(SECTIONS[key]))}"
    return accepted(ANNOTATIONS[key])


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
