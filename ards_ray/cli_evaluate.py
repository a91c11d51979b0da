"""The command `evaluate`: parse, call one function."""

import argparse
from collections.abc import Sequence

from rich.console import Console

from ards_ray.errors import SettingsError
from ards_ray.options import Parser, whole_number

_ATTACKS = ("clean", "permutation", "symbol", "symbol+permutation")


def add_evaluate(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command to the console script's."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model's accuracy under permutation and symbol attacks",
        description="Clean, PA, SA and SA+PA of a model. Without --benchmark a tiny model is trained and evaluated.",
    )
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="the checkpoint")
    parser.add_argument("--adapter", metavar="DIR", help="a PEFT adapter that is merged into it")
    parser.add_argument(
        "--benchmark", metavar="NAME=PATH", nargs="+", action="extend", default=[], help="benchmarks and their files"
    )
    parser.add_argument(
        "--images", metavar="[NAME=]DIR", nargs="+", action="extend", default=[], help="image folder, of all or of one"
    )
    parser.add_argument(
        "--links", choices=("refuse", "follow"), default="refuse", help="symbolic links that lead out of image folders"
    )
    parser.add_argument("--engine", choices=("hf", "vllm"), default="hf", help="transformers, or vLLM if installed")
    parser.add_argument(
        "--attacks", metavar="A,B", default=",".join(_ATTACKS), help="columns, with commas between; all by default"
    )
    parser.add_argument(
        "--symbols",
        default="QWERTYU",
        help="symbols of the symbol attack, in order; with commas between if one has several characters",
    )
    parser.add_argument("--matching", choices=("strict", "lenient"), default="strict", help="how answers are read")
    parser.add_argument(
        "--score", choices=("generate", "letters"), default="generate", help="generate, or rank the symbols"
    )
    parser.add_argument(
        "--answer-tokens", type=whole_number(1), default=64, metavar="N", help="longer answers are cut, and end with …"
    )
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="the first N questions of each benchmark")
    parser.add_argument("--output", metavar="DIR_OR_URL", help="answers and results; continued if it is there")
    parser.add_argument("--answers", metavar="DIR_OR_URL", help="results from the answers recorded there, no model")
    parser.add_argument("--fresh", action="store_true", help="throw away what the output holds")
    parser.add_argument(
        "--seed", type=whole_number(), default=42, metavar="N", help="seed of the orders that are drawn"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="auto is bfloat16 on a GPU and float32 on a CPU",
    )
    parser.add_argument(
        "--workers", type=whole_number(1), metavar="N", help="replicas; one for each GPU, or as many as CPUs allow"
    )
    parser.add_argument(
        "--threads", type=whole_number(1), default=1, metavar="N", help="CPUs for one replica, without GPUs"
    )
    parser.add_argument(
        "--tensor-parallel", type=whole_number(1), default=1, metavar="N", help="GPUs for one replica; vLLM alone"
    )
    parser.add_argument(
        "--batch-positions",
        type=whole_number(1),
        default=16_384,
        metavar="N",
        help="positions computed together; hf alone",
    )
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    from ards_ray.config import ProxySettings
    from ards_ray.evaluation.attacks import Plan
    from ards_ray.evaluation.settings import EvaluationSettings, check_evaluation
    from ards_ray.report.tables import say

    symbols = tuple(options.symbols.split(",") if "," in options.symbols else options.symbols)
    plan = Plan(tuple(options.attacks.split(",")), symbols, options.matching, options.seed)
    if options.answers is not None:
        others = {"--benchmark": options.benchmark, "--images": options.images, "--model": options.model}
        others |= {"--adapter": options.adapter, "--limit": options.limit, "--fresh": options.fresh}
        for option in (option for option, value in others.items() if value):
            raise SettingsError(f"{option}: beside --answers there is nothing to ask, and so no use for it")
        from ards_ray.report.recorded import results_of_answers

        results_of_answers(options.answers, options.output, plan, console)
        return
    settings = EvaluationSettings(
        model=ProxySettings(options.model, options.adapter, options.dtype, options.device),
        benchmarks=_named("--benchmark", options.benchmark),
        images=_named("--images", options.images, unnamed=True),
        links=options.links,
        engine=options.engine,
        plan=plan,
        score=options.score,
        answer_tokens=options.answer_tokens,
        limit=options.limit,
        output=options.output,
        workers="auto" if options.workers is None else options.workers,
        tensor_parallel=options.tensor_parallel,
        threads=options.threads,
        batch_positions=options.batch_positions,
    )
    check_evaluation(settings)
    from ards_ray.jobs.evaluate import evaluate

    if not settings.benchmarks and (options.model or options.adapter or options.images):
        raise SettingsError(
            "--benchmark: not stated; the demo, which runs without it, has a model and images of its own"
        )
    if not settings.benchmarks:
        from ards_ray.demo import with_demo_benchmark

        settings = with_demo_benchmark(settings, lambda text: say(console, text))
    evaluate(settings, console, fresh=options.fresh)


def _named(option: str, values: Sequence[str], unnamed: bool = False) -> dict[str, str]:
    """Paths by name, from NAME=PATH.

    Args:
        option: The option that they were given with.
        values: What it was given.
        unnamed: Whether a path may stand without a name; it then has the empty one.

    Raises:
        SettingsError: a name is missing, or stands there twice.
    """
    paths: dict[str, str] = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not separator or not name.isidentifier():
            if not unnamed:
                raise SettingsError(f"{option} {value}: write it as NAME=PATH")
            name, path = "", value
        if name in paths:
            raise SettingsError(f"{option} {value}: {name or 'a folder for all'} was given before")
        paths[name] = path
    return paths
