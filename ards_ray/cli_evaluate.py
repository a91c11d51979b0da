"""The command `evaluate`: parse, call one function."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from ards_ray.config import Device, Dtype, Links
from ards_ray.errors import ArdsError, SettingsError
from ards_ray.given import given_by, print_settings, settings_of
from ards_ray.options import Parser, whole_number

if TYPE_CHECKING:
    from ards_ray.report.evaluation import Result


def add_evaluate(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command to the console script's."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model's accuracy under permutation and symbol attacks",
        description="Clean, PA, SA and SA+PA of a model. Without --benchmark a tiny model is trained and evaluated.",
    )
    parser.add_argument("--config", metavar="FILE", help="settings in YAML")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="assignments", help="any setting, repeatable"
    )
    parser.add_argument("--print-config", action="store_true", help="print the settings as YAML and stop")
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="the checkpoint")
    parser.add_argument("--adapter", metavar="DIR", help="a PEFT adapter that is merged into it")
    parser.add_argument(
        "--benchmark", metavar="NAME=PATH", nargs="+", action="extend", help="benchmarks and their files"
    )
    parser.add_argument(
        "--images", metavar="[NAME=]DIR", nargs="+", action="extend", help="image folder, of all or of one"
    )
    parser.add_argument("--links", choices=get_args(Links), help="symbolic links that lead out of image folders")
    parser.add_argument("--engine", choices=("hf", "vllm"), help="transformers, or vLLM if installed")
    parser.add_argument("--attacks", type=_attacks, metavar="A,B", help="columns, with commas between; all by default")
    parser.add_argument(
        "--symbols",
        type=_symbols,
        help="symbols of the symbol attack, in order; with commas between if one has several characters",
    )
    parser.add_argument("--matching", choices=("strict", "lenient"), help="how answers are read")
    parser.add_argument("--score", choices=("generate", "letters"), help="generate, or rank the symbols")
    parser.add_argument(
        "--answer-tokens", type=whole_number(1), metavar="N", help="longer answers are cut, and end with …"
    )
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="the first N questions of each benchmark")
    parser.add_argument("--output", metavar="DIR_OR_URL", help="answers and results; continued if it is there")
    parser.add_argument("--answers", metavar="DIR_OR_URL", help="results from the answers recorded there, no model")
    parser.add_argument("--fresh", action="store_true", help="throw away what the output holds")
    parser.add_argument("--seed", type=whole_number(), metavar="N", help="seed of the orders that are drawn")
    parser.add_argument("--device", choices=get_args(Device), help="where the model runs")
    parser.add_argument("--dtype", choices=get_args(Dtype), help="auto is bfloat16 on a GPU and float32 on a CPU")
    parser.add_argument(
        "--workers", type=whole_number(1), metavar="N", help="replicas; one for each GPU, or as many as CPUs allow"
    )
    parser.add_argument("--threads", type=whole_number(1), metavar="N", help="CPUs for one replica, without GPUs")
    parser.add_argument("--tensor-parallel", type=whole_number(1), metavar="N", help="GPUs for one replica; vLLM alone")
    parser.add_argument(
        "--batch-positions", type=whole_number(1), metavar="N", help="positions computed together; hf alone"
    )
    parser.set_defaults(run=_evaluate)


def _attacks(text: str) -> list[str]:
    return text.split(",")


def _symbols(text: str) -> list[str]:
    return text.split(",") if "," in text else list(text)


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.console import say
    from ards_ray.evaluation.settings import OTHERS, EvaluationSettings, check_evaluation
    from ards_ray.validation import annotations_of

    if options.answers is not None:
        others = {"--benchmark": options.benchmark, "--images": options.images, "--model": options.model}
        others |= {"--adapter": options.adapter, "--limit": options.limit, "--fresh": options.fresh}
        for option in (option for option, value in others.items() if value):
            raise SettingsError(f"{option}: beside --answers there is nothing to ask, and so no use for it")
    options.benchmark = _named("--benchmark", options.benchmark)
    options.images = _named("--images", options.images, OTHERS)
    # Every setting has an option of its own.
    shorthands = {key.replace("_", "-"): key for key in annotations_of(EvaluationSettings)}
    shorthands["benchmark"] = shorthands.pop("benchmarks")
    settings = settings_of(EvaluationSettings, given_by(options, EvaluationSettings, shorthands))
    check_evaluation(settings)
    if options.print_config:
        print_settings(settings)
        return
    if options.answers is not None:
        from ards_ray.jobs.recorded import results_of_answers
        from ards_ray.storage.location import locate

        results = results_of_answers(options.answers, settings.plan, settings.output, console)
        _print_results(results, None if settings.output is None else locate(settings.output).url, console)
        return
    from ards_ray.jobs.evaluate import evaluate

    if not settings.benchmarks and (settings.model or settings.adapter or settings.images):
        raise SettingsError(
            "--benchmark: not stated; the demo, which runs without it, has a model and images of its own"
        )
    if not settings.benchmarks:
        from ards_ray.demo import with_demo_benchmark

        settings = with_demo_benchmark(settings, lambda text: say(console, text))
    evaluated = evaluate(settings, console, fresh=options.fresh)
    if not evaluated.worked:
        console.print("Nothing to do: this run is finished.")
    _print_results(evaluated.results, evaluated.run, console)
    empty = [result.benchmark for result in evaluated.results if not result.metrics.questions]
    if empty:
        from ards_ray.report.evaluation import NOT_EVALUATED

        raise ArdsError(f"{', '.join(empty)}: no question could be evaluated; see {evaluated.run}/{NOT_EVALUATED}")


def _print_results(results: "Sequence[Result]", url: str | None, console: Console) -> None:
    """The tables, and where they were written."""
    from ards_ray.console import say
    from ards_ray.report.evaluation import RESULTS_MD, print_results

    print_results(results, console)
    if url is not None:
        say(console, f"Results: {url}/{RESULTS_MD}")


def _named(option: str, values: Sequence[str] | None, unnamed: str | None = None) -> dict[str, str] | None:
    """Paths by name, from NAME=PATH.

    Args:
        option: The option that they were given with.
        values: What it was given.
        unnamed: The name of a path without one, if there may be such a path.

    Raises:
        SettingsError: a name is missing, or stands there twice.
    """
    if values is None:
        return None
    paths: dict[str, str] = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not separator or not name.isidentifier():
            if unnamed is None:
                raise SettingsError(f"{option} {value}: write it as NAME=PATH")
            name, path = unnamed, value
        if name in paths:
            raise SettingsError(f"{option} {value}: {'a folder for all' if name == unnamed else name} was given before")
        paths[name] = path
    return paths
