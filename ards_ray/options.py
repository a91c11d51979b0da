"""Command line options whose mistakes are told in one line, in the words that settings are told in."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from ards_ray.words import either, nearest


class Parser(argparse.ArgumentParser):
    """A parser that names what it does not know and what is like it, instead of printing its usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options; what is left over is a mistake here, not where the commands are told apart."""
        options, rest = super().parse_known_args(args, namespace)
        if rest:
            name = rest[0].partition("=")[0]
            if not name.startswith("-"):
                self.error(f"{name}: belongs to no option")
            near = nearest(name, [option for option in self._option_string_actions if option.startswith("--")])
            self.error(f"{name}: no such option{f'; the nearest is {near}' if near else ''}")
        return options, rest

    def error(self, message: str) -> NoReturn:
        """End with 2."""
        message = message.removeprefix("argument ")
        words = {
            "expected one argument": "a value is missing",
            "expected at least one argument": "a value is missing",
            "the following arguments are required:": "missing:",
            "ignored explicit argument": "takes no value, got",
        }
        for argparse_says, we_say in words.items():
            message = message.replace(argparse_says, we_say, 1)
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"must be {either(list(action.choices))}, got {value}")


def whole_number(least: int | None = None) -> Callable[[str], int]:
    """A type for options: a whole number, from `least` if that is stated."""
    bounds = "" if least is None else f", {least} or more"

    def read(text: str) -> int:
        try:
            if least is None or int(text) >= least:
                return int(text)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"must be a whole number{bounds}, got {text or 'nothing'}")

    return read
