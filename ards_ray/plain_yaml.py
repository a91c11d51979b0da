"""YAML without its surprises: numbers are decimal, dates are texts, and no key stands twice."""

import re
from typing import Any

import yaml


class NotPlain(Exception):
    """A text is no such YAML; the message says where and why."""


def parsed(text: str) -> Any:
    """What a text says.

    Raises:
        NotPlain: it is not valid, or a key stands twice.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = error.problem if isinstance(error, _Twice) else "not valid YAML"
        raise NotPlain(f"{f', line {mark.line + 1}' if mark else ''}: {problem}") from error
    except (RecursionError, ValueError, LookupError, AttributeError) as error:
        # What the library's constructors raise for `!!bool maybe` and its like.
        raise NotPlain(": not valid YAML") from error


def plain(value: Any) -> Any:
    """A value; a text that is YAML as what it says."""
    try:
        return parsed(value) if isinstance(value, str) else value
    except NotPlain:
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
