"""Results from recorded answers alone: no model, no benchmark files."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from string import ascii_uppercase

import pyarrow as pa
from rich.console import Console

from ards_ray.console import say
from ards_ray.corruption.permutation import Order
from ards_ray.errors import SettingsError
from ards_ray.evaluation.answers import ANSWERS, Answer, from_table
from ards_ray.evaluation.attacks import ATTACKS, Plan
from ards_ray.evaluation.matching import MATCHERS, normalise
from ards_ray.evaluation.metrics import NO_METRICS, metrics_by_benchmark
from ards_ray.evaluation.question import NotEvaluated
from ards_ray.report.evaluation import ANSWERS_FILE, NOT_EVALUATED, Result, is_summary, summary_files
from ards_ray.run.directory import RUN_FILE, RunDirectory
from ards_ray.run.lease import hold_lease
from ards_ray.validation import check_settings


def results_of_answers(
    folder: str, plan: Plan, output: str | None = None, console: Console | None = None
) -> list[Result]:
    """Match the recorded answers anew.

    Args:
        folder: Folder or URL with `answers.parquet`.
        plan: Matcher, columns and symbols.
        output: Where results go; they are not written if it is not given.
        console: Told if the output is in use; nobody if not given.

    Returns:
        What came of each benchmark.

    Raises:
        SettingsError: there is no such file, or it does not hold answers under these symbols, or not such as an
            evaluation writes; or the output holds something else.
        ArdsError: a question was not asked to its end, as when a laxer matcher takes an answer behind which nothing
            was asked; names it.
    """
    check_settings(plan)
    recorded = RunDirectory(folder)
    if not recorded.exists(ANSWERS_FILE):
        raise SettingsError(f"--answers {recorded.url}: no {ANSWERS_FILE} here; was the evaluation finished?")
    table = recorded.read_table(ANSWERS_FILE)
    if set(ANSWERS.names) - set(table.column_names):
        missing = sorted(set(ANSWERS.names) - set(table.column_names))
        raise SettingsError(
            f"{recorded.url}/{ANSWERS_FILE}: no column {missing[0]!r}; if an earlier version wrote it, evaluate again"
        )
    try:
        table = table.select(ANSWERS.names).cast(ANSWERS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SettingsError(f"{recorded.url}/{ANSWERS_FILE}: not the columns of recorded answers ({error})") from error
    answers = list(_matched(table, plan, recorded.url))
    if not answers:
        raise SettingsError(f"{recorded.url}/{ANSWERS_FILE}: no answers under {', '.join(plan.attacks)}")
    _check(answers, plan, recorded.url)
    metrics = metrics_by_benchmark(answers)
    not_evaluated = _not_evaluated(recorded)
    names = dict.fromkeys([*metrics, *not_evaluated])
    results = [Result(name, metrics.get(name, NO_METRICS), not_evaluated.get(name, ())) for name in names]
    if output is not None:
        run = RunDirectory(output)
        if run.url != recorded.url and run.exists(RUN_FILE):
            raise SettingsError(f"--output {run.url}: holds a run; name another")
        if not is_summary(run):
            run.prepare()
        described = {
            "answers": recorded.url,
            "attacks": ", ".join(plan.attacks),
            "symbols of the symbol attack": " ".join(plan.symbols),
            "matching": plan.matching,
        }
        with hold_lease(run, partial(say, console or Console(quiet=True))):
            for name, content in summary_files(results, described).items():
                run.write_bytes(name, content)
    return results


def _check(answers: Sequence[Answer], plan: Plan, url: str) -> None:
    """Whether the rows are what an evaluation writes: otherwise their metrics would be numbers without a meaning."""
    questions: dict[tuple[str, str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        questions[answer.benchmark, answer.question, answer.attack].append(answer)
    for (benchmark, id, attack), rows in questions.items():
        orders = [row.order for row in rows]
        fixed = rows[0].fixed
        count = len(orders[0])
        given = tuple(range(count))
        symbols = tuple(plan.symbols if attack.startswith("symbol") else ascii_uppercase)
        if any(sorted(order) != list(given) for order in orders):
            problem = "an order is none of as many options"
        elif any(row.fixed != fixed for row in rows) or not set(fixed) <= set(given):
            problem = "the options that stay are not the same in every order"
        elif any(sorted(order[:place]) != list(given[:place]) for order in orders for place in _bounds(fixed)):
            problem = "an order moves an option that stays, or another past it"
        elif len(set(orders)) < len(orders):
            problem = "an order stands there twice"
        elif given not in orders:
            problem = "the given order is missing"
        elif not attack.endswith("permutation") and len(orders) > 1:
            problem = "more than the given order"
        elif not count and attack != "clean":
            problem = "a free answer"
        elif count and len({row.order[symbols.index(row.gold)] for row in rows}) > 1:
            problem = "the right option is not the same in every order"
        else:
            continue
        raise SettingsError(f"{url}/{ANSWERS_FILE}: {benchmark}, question {id} under {attack}: {problem}")


def _bounds(fixed: Order) -> Iterator[int]:
    """Before and behind each place that stays: no option passes there."""
    for place in fixed:
        yield from (place, place + 1)


def _matched(table: pa.Table, plan: Plan, url: str) -> Iterator[Answer]:
    for answer in from_table(table):
        if answer.attack not in ATTACKS:
            raise SettingsError(f"{url}/{ANSWERS_FILE}: unknown attack {answer.attack!r}")
        if answer.attack in plan.attacks:
            yield _match(answer, plan, url)


def _match(answer: Answer, plan: Plan, url: str) -> Answer:
    if not answer.order:
        parsed: str | None = normalise(answer.answer)
    else:
        symbols = plan.symbols if answer.attack.startswith("symbol") else ascii_uppercase
        some = tuple(symbols[: len(answer.order)])
        if answer.gold not in some:
            raise SettingsError(
                f"{url}/{ANSWERS_FILE}: question {answer.question} under {answer.attack}: {answer.gold!r} is none of "
                f"{', '.join(some)}; give the --symbols that it was asked with"
            )
        parsed = MATCHERS[plan.matching](answer.answer, some)
    return replace(answer, parsed=parsed, correct=parsed == answer.gold)


def _not_evaluated(recorded: RunDirectory) -> dict[str, list[NotEvaluated]]:
    found: dict[str, list[NotEvaluated]] = {}
    if recorded.exists(NOT_EVALUATED):
        for number, line in enumerate(recorded.read_bytes(NOT_EVALUATED).splitlines(), start=1):
            try:
                entry = json.loads(line)
                benchmark, question, error = (str(entry[key]) for key in ("benchmark", "question", "error"))
            except (ValueError, KeyError, TypeError) as cause:
                raise SettingsError(
                    f"{recorded.url}/{NOT_EVALUATED}: line {number} is no question with its error ({cause})"
                ) from cause
            found.setdefault(benchmark, []).append(NotEvaluated(question, error))
    return found
