"""What a setting accepts: pydantic checks it, and what is wrong is told in the words of the user."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from operator import attrgetter
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ards_ray.errors import SettingsError
from ards_ray.words import either

_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list of texts",
    "object": "texts by their names, as in {name: text}",
    "null": "null",
}
# Errors of values that have the right type.
_OUT_OF_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "predicate_failed"}
_LONGEST_SHOWN = 80

_adapter = cache(partial(TypeAdapter, config=ConfigDict(strict=True)))


def annotations_of(kind: Any) -> dict[str, Any]:
    """The annotation of each section and setting in a class of settings, by its key: `section.name` in a section."""
    annotations = {item.name: item.type for item in fields(kind)}
    sections = {name: annotation for name, annotation in annotations.items() if is_dataclass(annotation)}
    return annotations | {f"{name}.{item.name}": item.type for name in sections for item in fields(sections[name])}


def check_settings(settings: Any) -> None:
    """Check settings that were made in Python.

    Raises:
        SettingsError: names the key, what it must be and its value.
    """
    for key, annotation in annotations_of(settings).items():
        if not is_dataclass(annotation):
            validated(annotation, [attrgetter(key)(settings)], key)


def validated(annotation: Any, readings: Sequence[Any], name: str) -> Any:
    """The first reading of a value that a setting accepts.

    Args:
        annotation: The setting's.
        readings: The value as it was given, and what else it may mean.
        name: The setting as its user wrote it.

    Raises:
        SettingsError: names the setting, what it must be and its value.
    """
    for value in readings:
        try:
            return _adapter(annotation).validate_python(value)
        except ValidationError as error:
            if any(one["type"] in _OUT_OF_BOUNDS for one in error.errors()):
                got = shown(value) if isinstance(value, list | tuple) else value
                raise SettingsError(f"{name}: must be {accepted(annotation, types=False)}, got {got}") from None
    must, got = accepted(annotation), readings[0]
    quotes = "; write it in quotes" if must.startswith(_TYPES["string"]) and isinstance(got, int | float) else ""
    raise SettingsError(f"{name}: must be {must}, got {shown(got)}{quotes}")


def accepted(annotation: Any, types: bool = True) -> str:
    """What a setting or a section accepts, in words.

    Args:
        annotation: Its annotation.
        types: Name the types too, not the bounds and choices alone.
    """
    if is_dataclass(annotation):
        return f"a section with {', '.join(item.name for item in fields(annotation))}"
    schema = _adapter(annotation).json_schema()
    members = schema.get("anyOf", [schema])
    if "description" in schema:
        return f"{_TYPES[members[-1]['type']]}, {schema['description']}" if types else schema["description"]
    words: list[str] = []
    for member in members:
        choices = [member["const"]] if "const" in member else member.get("enum", [])
        if "enum" in member.get("items", {}):
            choices = [f"a list of {either(member['items']['enum'])}"]
        bounds = _bounds(member)
        parts = bounds if bounds and not types else [_TYPES[member["type"]], *bounds]
        words += choices or [", ".join(parts)]
    return ", or ".join(words) if any(map(_bounds, members)) else either(words)


def shown(value: Any) -> str:
    """A value as messages quote it: one line, cut where it is long."""
    text = value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    """The bounds of a JSON schema."""
    if "maximum" in schema:
        return [f"{schema['minimum']} to {schema['maximum']}"]
    if "minimum" in schema:
        return [f"{schema['minimum']} or more"]
    return [f"more than {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
