"""Results of an evaluation: results.json, the tables in Markdown and those in the terminal."""

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ards_ray.console import printable, say, shown, table_of
from ards_ray.errors import reason_of
from ards_ray.evaluation.attacks import ATTACKS, Attack
from ards_ray.evaluation.metrics import Metrics
from ards_ray.evaluation.question import NotEvaluated
from ards_ray.run.directory import RunDirectory

ANSWERS_FILE, NOT_EVALUATED = "answers.parquet", "not_evaluated.jsonl"
RESULTS_JSON, RESULTS_MD = "results.json", "results.md"

_TITLE = "# Robust accuracy"
_COLUMNS: Mapping[Attack, str] = {"clean": "Clean", "permutation": "PA", "symbol": "SA", "symbol+permutation": "SA+PA"}
_DEFINITIONS = """\
Accuracies are percentages of the questions that were evaluated. An answer is right if the matcher finds the symbol of
the right option in it and no other; an answer in which it finds none is wrong.

- **Clean**: right with the options in the benchmark's order, under the letters A, B, C, …
- **PA** (permutation): right in every order of the options.
- **SA** (symbol): right in the benchmark's order under other symbols.
- **SA+PA**: right in every order under the other symbols.
- **Average**: mean of the four.
- **requests**: what was asked to know this, each question's orders up to the first wrong answer. The given order stands
  under two columns and is asked once. **saved**: what asking every order, or every order of a sample, would have taken
  beyond that. **cut**: answers that grew longer than `--answer-tokens` and were cut; they end with "…".
- **orders**: how many orders the questions have together. An option that speaks of others by place ("All of the above")
  stays where it is and no other passes it, so only the orders that keep sense are asked. A question with an option that
  names others by letter ("Both A and B") is not evaluated.
- **exhaustive**: no if some question has more orders than five options have; a seeded sample of them is asked, with the
  given order and all its rotations, and so with the right option at every place that it can have.
- **rotation**: right in every rotation of the given order (CircularEval). **consistency**: of the questions right in
  the given order, those right in every order. **mean over orders**: between the two numbers, since orders behind the
  first wrong one are not asked.
- Questions with free answers (GQA, GQA-OOD) are compared word for word, in lower case and without a full stop, and are
  not attacked.
"""


@dataclass(frozen=True)
class Result:
    """What came of a benchmark."""

    benchmark: str
    metrics: Metrics
    not_evaluated: Sequence[NotEvaluated]

    @property
    def reasons(self) -> dict[str, int]:
        """How many questions were not evaluated for each reason, the most frequent first."""
        counts = Counter(reason_of(question.error) for question in self.not_evaluated)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """As results.json has it."""
        return self.metrics.to_dict() | {"not_evaluated": self.reasons}


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation.

    Attributes:
        run: Path or URL of the run.
        results: What came of each benchmark: its metrics, and the questions that were not evaluated.
        worked: Whether there was something to do.
    """

    run: str
    results: Sequence[Result]
    worked: bool


def main_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of accuracies."""
    header = [
        "benchmark",
        *_COLUMNS.values(),
        "Average",
        "questions",
        "not evaluated",
        "orders",
        "requests",
        "saved",
        "cut",
        "exhaustive",
    ]
    rows = []
    for result in results:
        metrics = result.metrics
        accuracies = [_number(metrics.accuracy.get(attack)) for attack in ATTACKS]
        orders = sum(count * questions for count, questions in metrics.order_counts.items())
        counts = (metrics.questions, len(result.not_evaluated), orders, metrics.requests, metrics.saved, metrics.cut)
        rows.append(
            [
                result.benchmark,
                *accuracies,
                _number(metrics.average),
                *(f"{count:,}" for count in counts),
                "yes" if metrics.exhaustive else "no",
            ]
        )
    return header, rows


def order_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of what else the answers under permutation say."""
    header = ["benchmark", "attack", "rotation", "consistency", "mean over orders"]
    rows = [
        [
            result.benchmark,
            _COLUMNS[attack],
            _number(metrics.rotation),
            _number(metrics.consistency),
            f"{_number(metrics.mean_at_least)} to {_number(metrics.mean_at_most)}",
        ]
        for result in results
        for attack, metrics in result.metrics.orders.items()
    ]
    return header, rows


def gold_rows(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of clean accuracy by the letter of the right option."""
    letters = sorted({letter for result in results for letter in result.metrics.gold_position})
    rows = [
        [result.benchmark, *(_number(result.metrics.gold_position.get(letter)) for letter in letters)]
        for result in results
        if result.metrics.gold_position
    ]
    return ["Clean, right option at", *letters], rows


def markdown(results: Sequence[Result], described: Mapping[str, Any]) -> str:
    """The content of results.md.

    Args:
        results: Of each benchmark.
        described: The settings that the numbers rest on.
    """
    parts = [
        _TITLE,
        "\n".join(f"- {name}: {_markdown_text(str(value))}" for name, value in described.items()),
    ]
    for header, rows in (main_rows(results), order_rows(results), gold_rows(results)):
        if rows:
            parts.append(_markdown_table(header, rows))
    reasons = [
        [result.benchmark, reason, f"{count:,}"] for result in results for reason, count in result.reasons.items()
    ]
    if reasons:
        parts.append(_markdown_table(["benchmark", "not evaluated because", "questions"], reasons))
    return "\n\n".join([*parts, _DEFINITIONS])


def summary_files(results: Sequence[Result], described: Mapping[str, Any]) -> dict[str, bytes]:
    """The content of results.json and results.md, by name; see `markdown`."""
    summary = {result.benchmark: result.to_dict() for result in results}
    return {
        RESULTS_JSON: (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode(),
        RESULTS_MD: markdown(results, described).encode(),
    }


def is_summary(run: RunDirectory) -> bool:
    """Whether the folder holds what `summary_files` gives, and not another tool's files of these names."""
    return run.exists(RESULTS_MD) and run.read_bytes(RESULTS_MD).startswith(_TITLE.encode())


def print_results(results: Sequence[Result], console: Console) -> None:
    """The tables in the terminal."""
    header, rows = main_rows(results)
    # In two, for narrow terminals.
    cut = header.index("not evaluated")
    accuracies = header[:cut], [row[:cut] for row in rows]
    counts = [header[0], *header[cut:]], [[row[0], *row[cut:]] for row in rows]
    for header, rows in (accuracies, counts, order_rows(results), gold_rows(results)):
        if rows:
            table = table_of(*header)
            for row in rows:
                table.add_row(*map(shown, row))
            console.print(table)
    for result in results:
        for reason, count in result.reasons.items():
            say(console, f"{result.benchmark}: {count:,} not evaluated: {reason}")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(map(_markdown_text, line))} |" for line in lines)


def _markdown_text(text: str) -> str:
    """A text for a line or a cell, neither markup nor HTML."""
    return html.escape(printable(" ".join(text.split())), quote=False).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
