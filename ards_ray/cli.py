"""The console script: parse, call one function."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, get_args

from rich.console import Console

from ards_ray import config
from ards_ray.cli_evaluate import add_evaluate
from ards_ray.errors import ArdsError
from ards_ray.given import Given, given_by, print_settings, settings_of
from ards_ray.options import Parser, whole_number
from ards_ray.validation import check_settings

# The options of their own, and the settings that they stand for.
SHORTHANDS = {"corpus": "corpus.files", "images": "corpus.images", "model": "proxy.model", "budget": "mixture.budget",
              "output": "output", "method": "methods", "like": "like.run", "subgroups": "subgroups.run",
              "reuse": "runtime.reuse"}  # fmt: skip
PRESETS = sorted(Path(__file__).with_name("presets").glob("*.yaml"))
INTERRUPTED = 130
# Small enough that the members of the demo's subgroups leave enough of every format for its mixture.
DEMO_DEFAULTS = {"subgroups.per_format": 2, "subgroups.members": 5}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 1 failed, 2 wrong settings, 3 too many failed conversations, 4 another driver works on the run.
    """
    parser = Parser(prog="ards-ray", description="Robust training mixtures for multimodal models.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_select(commands)
    add_evaluate(commands)
    _add_verify(commands)
    _add_status(commands)
    _add_convert(commands)
    _add_benchmark(commands)
    options = parser.parse_args(arguments)
    console = Console(stderr=False)
    try:
        options.run(options, console)
    except (ArdsError, OSError) as error:
        print_error(error)
        return error.exit_code if isinstance(error, ArdsError) else ArdsError.exit_code
    except KeyboardInterrupt:
        print("interrupted: the same command, without --fresh, goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def print_error(error: Exception) -> None:
    """Print an error to stderr."""
    # Imported late: the help does not wait for it.
    from ards_ray.console import printable

    # It may quote a file from elsewhere.
    print(f"error: {printable(str(error))}", file=sys.stderr)


def _add_select(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "select",
        help="select a training mixture out of an instruction corpus",
        description="Select a training mixture. Without --corpus a built-in demo runs on a generated corpus.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=_HelpWithSettings, nargs=0, help="show this help message and exit")
    parser.add_argument("--config", metavar="FILE", help="settings in YAML, or the name of a preset: llava-665k")
    parser.add_argument("--corpus", metavar="FILE", nargs="+", action="extend", help="corpus files, in their order")
    parser.add_argument("--images", metavar="DIR", help="folder of the images")
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="the proxy's checkpoint")
    parser.add_argument(
        "--method", metavar="NAME[,NAME...]", type=lambda text: text.split(","), help="methods; ards if not given"
    )
    parser.add_argument("--like", metavar="RUN/METHOD", help="the mixture that the method like resembles")
    parser.add_argument("--budget", metavar="N", help="size of the mixture: below 1 a fraction, from 1 a count")
    parser.add_argument("--output", metavar="DIR_OR_URL", help="run directory; continued if it is there")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="assignments", help="any setting, repeatable"
    )
    parser.add_argument("--subgroups", metavar="RUN", help="score the corpus against the subgroups of a finished run")
    parser.add_argument("--reuse", metavar="RUN", help="take over the signals of another run where nothing changed")
    parser.add_argument("--fresh", action="store_true", help="throw away what other settings made, or all")
    parser.add_argument("--retry-failed", action="store_true", help="score failed conversations again")
    parser.add_argument("--print-config", action="store_true", help="print the settings as YAML and stop")
    parser.add_argument("--plan", action="store_true", help="print what would be done and stop")
    parser.set_defaults(run=_select)


def _select(options: argparse.Namespace, console: Console) -> None:
    settings = read_settings(options)
    if settings.subgroups.run is not None:
        from ards_ray.methods.ards.reference import shared_settings
        from ards_ray.run.directory import RunDirectory

        settings = read_settings(options, shared_settings(RunDirectory(settings.subgroups.run)))
    check_settings(settings)
    if options.print_config:
        print_settings(settings)
        return
    # Imported late: help and settings do not wait for torch and Ray.
    from ards_ray.jobs.plan import plan, print_plan
    from ards_ray.jobs.select import select
    from ards_ray.mixture.summary import print_summary

    if not settings.corpus.files:
        from ards_ray.demo import with_demo

        settings = with_demo(read_settings(options, DEMO_DEFAULTS))
    if options.plan:
        print_plan(plan(settings, console), str(settings.output), console)
    else:
        selected = select(settings, console, fresh=options.fresh, retry_failed=options.retry_failed)
        if not selected.worked:
            console.print("Nothing to do: this run is finished.")
        for mixture in selected.methods.values():
            print_summary(mixture.summary, mixture.url, console)


def read_settings(options: argparse.Namespace, defaults: Mapping[str, Any] | None = None) -> config.Settings:
    """The settings of the file, overridden by those of the command line.

    Args:
        options: The command line.
        defaults: Other defaults for some keys.

    Raises:
        SettingsError: a key is unknown, or a value is not what it must be.
    """
    given = [Given(key, value, key) for key, value in (defaults or {}).items()]
    # Imported late: the help of other commands does not wait for it.
    from ards_ray.methods.registry import Settings

    return settings_of(Settings, given + given_by(options, Settings, SHORTHANDS, PRESETS))


class _HelpWithSettings(argparse.Action):
    """Help that ends with every setting."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any, **options: Any) -> None:
        parser.epilog = _settings_help()
        parser.print_help()
        parser.exit()


def _settings_help() -> str:
    from docstring_parser import parse

    from ards_ray.methods.registry import Settings

    lines = ["settings, for --set and --config, with their defaults:"]
    for item in fields(Settings):
        default = getattr(Settings(), item.name)
        if is_dataclass(default):
            lines += ["", str(parse(type(default).__doc__ or "").short_description)]
            lines += _help_lines(type(default), f"{item.name}.")
    lines += ["", "Of the run"]
    own = ("  output", "  methods", "  seed")
    lines += [line for line in _help_lines(config.Settings, "") if line.startswith(own)]
    return "\n".join(lines)


def _help_lines(section: type, prefix: str) -> list[str]:
    """A line for each setting of a section: its key, what its docstring says, its values and its default."""
    from docstring_parser import parse

    described = {parameter.arg_name: parameter.description for parameter in parse(section.__doc__ or "").params}
    lines = []
    for item in fields(section):
        choices = [str(value) for value in get_args(item.type) if isinstance(value, str)]
        values = f" ({', '.join(choices)})" if choices else ""
        default = getattr(section(), item.name)
        text = f"{described[item.name]}{values} [{'none' if default in (None, ()) else default}]"
        lines.append(fill(text, 110, initial_indent=f"  {prefix + item.name:26}", subsequent_indent=" " * 28))
    return lines


def _add_verify(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "verify",
        help="check a run directory",
        description="Check schemas, counts, duplicates, checksums, fingerprints and sums. Ends with 1 if any is wrong.",
    )
    parser.add_argument("directory", metavar="RUN", help="run directory, local or a URL")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.jobs.verify import verify

    verify(options.directory, console)


def _add_status(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "status",
        help="tell how far a run is",
        description="Shards done, rate, time left and failures, from the run directory alone; also while a job works.",
    )
    parser.add_argument("directory", metavar="RUN", help="run directory, local or a URL")
    parser.set_defaults(run=_status)


def _status(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.jobs.status import print_status

    print_status(options.directory, console)


def _add_convert(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "convert-checkpoint",
        help="convert a checkpoint from the original LLaVA form to the Hugging Face format",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="checkpoint or LoRA folder in the original form")
    parser.add_argument("target", type=Path, metavar="OUTPUT", help="folder to make")
    parser.add_argument("--base", type=Path, metavar="DIR", help="language model that a LoRA folder was trained on")
    parser.add_argument(
        "--vision-tower", type=Path, metavar="DIR", help="CLIP checkpoint, if the source has no vision weights"
    )
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.convert.checkpoint import convert_checkpoint

    convert_checkpoint(options.source, options.target, options.base, options.vision_tower)
    console.print(f"Converted: {options.target.absolute()}", soft_wrap=True, highlight=False, markup=False)


def _add_benchmark(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser("benchmark", help="measure the product on this machine")
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    selection = benchmarks.add_parser(
        "selection",
        help="the stages after scoring, beside reading the vectors once",
        description="Time and memory of k-means, assignment, scores and mixture on synthetic signals. Linux only.",
    )
    selection.add_argument(
        "--rows", type=whole_number(1), default=665_298, metavar="N", help="conversations; as LLaVA-665K has"
    )
    selection.add_argument(
        "--dim", type=whole_number(1), default=8192, metavar="N", help="numbers in a conversation vector"
    )
    selection.add_argument("--output", metavar="DIR", help="folder of the signals, kept and used again")
    selection.add_argument("--json", metavar="FILE", help="file for the figures")
    selection.set_defaults(run=_benchmark_selection)
    scoring = benchmarks.add_parser(
        "scoring",
        help="the proxy's speed, beside the published procedure and plain passes",
        description="Conversations per second of reference, plain passes and this engine, in one run. Linux only.",
    )
    scoring.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the proxy computes")
    scoring.add_argument("--model", type=Path, metavar="DIR", help="LLaVA-1.5 checkpoint; a random one if not given")
    scoring.add_argument(
        "--conversations", type=whole_number(1), metavar="N", help="conversations; as take some minutes"
    )
    scoring.add_argument("--batch-positions", type=whole_number(1), metavar="N", help="positions computed together")
    scoring.add_argument("--json", metavar="FILE", help="file for the figures")
    scoring.set_defaults(run=_benchmark_scoring)
    run = benchmarks.add_parser(
        "run",
        help="what a large finished run costs to open, to look at and to verify",
        description="Seconds and objects read for opening, status, resume and verify of a synthetic run.",
    )
    run.add_argument("--conversations", type=whole_number(1), default=1_000_000, metavar="N", help="conversations")
    run.add_argument("--s3", action="store_true", help="measure on an S3 server on this machine, too")
    run.add_argument("--output", metavar="DIR", help="folder of the run, kept and used again")
    run.add_argument("--json", metavar="FILE", help="file for the figures")
    run.set_defaults(run=_benchmark_run)


def _benchmark_selection(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.benchmark.selection import measure_selection

    measure_selection(options.rows, options.dim, options.output, options.json, console)


def _benchmark_scoring(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.benchmark.scoring import measure_scoring

    measure_scoring(
        options.device, options.model, options.conversations, options.batch_positions, options.json, console
    )


def _benchmark_run(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.benchmark.run import measure_run

    measure_run(options.conversations, options.output, options.s3, options.json, console)
