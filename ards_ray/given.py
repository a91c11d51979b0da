"""Settings as users write them: YAML files, KEY=VALUE, options. What is wrong is told in their words."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from ards_ray.config import Settings, bounds_of, check_bounds
from ards_ray.errors import SettingsError
from ards_ray.words import either, nearest

SECTIONS: dict[str, Any] = {item.name: item.type for item in fields(Settings) if is_dataclass(item.type)}
TYPES: dict[str, Any] = {
    **{f"{section}.{item.name}": item.type for section, kind in SECTIONS.items() for item in fields(kind)},
    **{item.name: item.type for item in fields(Settings) if item.name not in SECTIONS},
}
_KINDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    NoneType: "null",
    tuple[str, ...]: "a list of texts",
}
_LONGEST_SHOWN = 80


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
    values: dict[str, Any] = {}
    for item in given:
        for one in _flat(item):
            values[one.key] = _value(one)
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
    except _Twice as error:
        raise SettingsError(f"{source}, line {error.line}: {error.key} stands there twice; delete one") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsError(f"{source}{f', line {mark.line + 1}' if mark else ''}: not valid YAML") from error
    if not isinstance(content, Mapping):
        found = "nothing" if content is None else _shown(content)
        raise SettingsError(f"{source}: must hold settings, as in `subgroups: {{members: 20}}`, got {found}")
    given = [one for key, value in content.items() for one in _flat(Given(str(key), value, f"{source}: "))]
    seen = set()
    for one in given:
        if one.key in seen:
            raise SettingsError(f"{one.name}: stands there twice; delete one")
        seen.add(one.key)
    return given


def accepted(key: str) -> str:
    """What a setting or a section accepts, in words."""
    if key in SECTIONS:
        return f"a section with {', '.join(item.name for item in fields(SECTIONS[key]))}"
    kinds, bounds = _kinds(TYPES[key]), bounds_of(key)
    words: list[str] = []
    for kind in kinds:
        if get_origin(kind) is not Literal:
            words += [] if kind is int and float in kinds else [_KINDS[kind]]
        elif bounds is None:
            words += get_args(kind)
    return ", ".join([either(words), *([bounds] if bounds else [])])


def _flat(given: Given) -> Iterator[Given]:
    """The settings of a section, or the setting itself."""
    if given.key in TYPES:
        yield given
        return
    content = _plain(given.value)
    if given.key not in SECTIONS:
        near = nearest(given.key, [*SECTIONS, *([] if isinstance(content, Mapping) else TYPES)])
        raise SettingsError(f"{given.name}: no such setting; {_there_is(near)}")
    if not isinstance(content, Mapping):
        raise SettingsError(f"{given.name}: must be {accepted(given.key)}, got {_shown(given.value)}")
    for key, value in content.items():
        yield from _flat(Given(f"{given.key}.{key}", value, given.source))


def _there_is(near: str | None) -> str:
    if near is None:
        return f"the sections are {', '.join(SECTIONS)}, and there are output and seed"
    return f"the nearest is {near}: {accepted(near)}"


def _value(given: Given) -> Any:
    kinds = _kinds(TYPES[given.key])
    for kind in kinds:
        try:
            value = _as(kind, given.value)
        except ValueError:
            continue
        check_bounds(given.key, value, given.name)
        return value
    quotes = "; write it in quotes" if str in kinds and isinstance(given.value, int | float) else ""
    raise SettingsError(f"{given.name}: must be {accepted(given.key)}, got {_shown(given.value)}{quotes}")


def _kinds(expected: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return get_args(expected) if get_origin(expected) in (Union, UnionType) else (expected,)


def _as(kind: Any, value: Any) -> Any:
    """A value as one of a kind.

    Raises:
        ValueError: it is none.
    """
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
    elif kind is str:
        if isinstance(value, str) and value != "null":
            return value
    elif get_origin(kind) is tuple:
        items = _plain(value)
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(items)
    else:
        plain = _plain(value)
        if type(plain) is kind:
            return plain
        if kind is float and type(plain) is int:
            return float(plain)
    raise ValueError


def _plain(value: Any) -> Any:
    """What YAML makes of a value that is a text."""
    if not isinstance(value, str):
        return value
    try:
        return _parsed(value)
    except (yaml.YAMLError, RecursionError, _Twice):
        return value


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


class _Twice(Exception):
    """A key that stands twice in a mapping."""

    def __init__(self, key: str, line: int):
        self.key, self.line = key, line


class _Loader(yaml.SafeLoader):
    """YAML without dates, with numbers like 1e-3, and with no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _Twice(key.value, key.start_mark.line + 1)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _parsed(text: str) -> Any:
    return yaml.load(text, _Loader)
