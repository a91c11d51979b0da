"""summary.json, and the closing tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ards_ray.console import print_failures, say, shown, table_of
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import ArdsError
from ards_ray.methods.ranking import method_folder
from ards_ray.mixture.write import Composition
from ards_ray.run.directory import RunDirectory
from ards_ray.run.fields import fields_problem
from ards_ray.run.stage import Job
from ards_ray.run.state import versions
from ards_ray.signals.failures import failure_reasons
from ards_ray.signals.registry import SIGNALS

SUMMARY = "summary.json"
LARGEST = 20
_FIELDS = {
    "method": str,
    **dict.fromkeys(("conversations", "scored", "failed", "selected", "budget", "reused", "batch_splits"), int),
    **dict.fromkeys(("failures", "corpus", "mixture", "seconds"), dict),
}
_COMPOSITION = {"formats": dict, "folders": dict}
_SUBGROUP = {"subgroup": str, "size": int, "members": int, "loss": int | float, "weight": int | float}


def summarise(
    job: Job,
    method: str,
    signals: Sequence[str],
    selected: np.ndarray,
    budget: int,
    counts: Composition,
    added: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a method's summary.json.

    Args:
        job: The job.
        method: Name of the method.
        signals: Names of the signals that it uses.
        selected: bool [conversations].
        budget: How many conversations were wanted.
        counts: Composition of corpus and mixture.
        added: What the method adds.
    """
    reasons = failure_reasons(job.run, signals)
    parts = {name: SIGNALS[name].table.parts(job.run) for name in signals}
    stages = (CONVERSATIONS.folder, *(SIGNALS[name].stage for name in signals))
    seconds = {
        name.removeprefix(f"{method_folder(method)}/"): record.seconds
        for name, record in job.state.stages.items()
        if name in stages or name.startswith(f"{method_folder(method)}/")
    }
    failed = sum(reasons.values())
    return {
        "method": method,
        "conversations": len(selected),
        "scored": len(selected) - failed,
        "failed": failed,
        "selected": int(selected.sum()),
        "budget": budget,
        "failures": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "corpus": {"formats": counts.corpus_formats, "folders": counts.corpus_folders},
        "mixture": {"formats": counts.mixture_formats, "folders": counts.mixture_folders},
        **added,
        "reused": max((sum(part.details.reused for part in some) for some in parts.values()), default=0),
        "batch_splits": max((sum(part.details.splits for part in some) for some in parts.values()), default=0),
        "seconds": seconds,
        "versions": versions(),
    }


def summary_problem(summary: Any) -> str | None:
    """What the content of summary.json lacks, or None."""
    return (
        fields_problem(summary, _FIELDS)
        or fields_problem(summary["corpus"], _COMPOSITION)
        or fields_problem(summary["mixture"], _COMPOSITION)
        or next(filter(None, (fields_problem(item, _SUBGROUP) for item in summary.get("subgroups", []))), None)
    )


def read_summary(run: RunDirectory, method: str) -> dict[str, Any]:
    """The content of a finished method's summary.json.

    Raises:
        ArdsError: the file is damaged.
    """
    path = f"{method_folder(method)}/{SUMMARY}"
    summary: dict[str, Any] = run.read_json(path)
    if problem := summary_problem(summary):
        raise ArdsError(f"{run.url}/{path}: damaged ({problem}); delete it and run the same command again")
    return summary


def print_summary(summary: Mapping[str, Any], mixture: str, console: Console) -> None:
    """The closing tables of a finished run, and where its mixture lies.

    Args:
        summary: The content of summary.json.
        mixture: Path or URL of the mixture.
        console: Where they go.
    """
    for key, title in (("formats", "format"), ("folders", "source folder")):
        console.print(_composition(title, summary["corpus"][key], summary["mixture"][key]))
    subgroups = table_of("subgroup", "conversations", "members", "loss", "weight")
    for item in summary.get("subgroups", []):
        subgroups.add_row(
            shown(item["subgroup"]),
            f"{item['size']:,}",
            f"{item['members']:,}",
            f"{item['loss']:.4f}",
            f"{item['weight']:.4f}",
        )
    if subgroups.row_count:
        console.print(subgroups)
    if summary["failures"]:
        print_failures(summary["failures"], console)
    seconds = table_of("stage", "seconds")
    for name, value in summary["seconds"].items():
        seconds.add_row(name, f"{value:,.1f}")
    console.print(seconds)
    if summary["selected"] < summary["budget"]:
        say(
            console,
            f"Warning: the budget asks for {summary['budget']:,} conversations, "
            f"and there are only {summary['selected']:,} candidates.",
        )
    if summary["batch_splits"]:
        say(
            console,
            f"Note: {summary['batch_splits']:,} batches or shards could not be computed whole and were computed in "
            "halves; their results may differ in the last bits.",
        )
    if summary["reused"]:
        say(
            console,
            f"Note: the scores of {summary['reused']:,} conversations were taken over from another run; "
            "the others may differ from a run of its own in the last bits.",
        )
    members = f", {summary['members']:,} members of subgroups" if "members" in summary else ""
    say(
        console,
        f"Chosen by {summary['method']}: {summary['selected']:,} of {summary['conversations']:,} conversations "
        f"({summary['failed']:,} failed{members}).",
    )
    say(console, f"Mixture: {mixture}")


def _composition(title: str, corpus: Mapping[str, int], mixture: Mapping[str, int]) -> Table:
    """Shares of a corpus and its mixture; beyond twenty rows the small ones stand together."""
    table = table_of(title, "corpus", "%", "mixture", "%")
    whole, chosen = sum(corpus.values()), sum(mixture.values())
    rows = sorted(corpus, key=lambda name: (-corpus[name], name))
    entries = [(shown(name), corpus[name], mixture.get(name, 0)) for name in rows[:LARGEST]]
    if others := rows[LARGEST:]:
        name = f"({len(others):,} others)"
        entries.append((name, sum(corpus[item] for item in others), sum(mixture.get(item, 0) for item in others)))
    for name, before, after in entries:
        table.add_row(name, f"{before:,}", _percent(before, whole), f"{after:,}", _percent(after, chosen))
    table.add_section()
    table.add_row("all", f"{whole:,}", "", f"{chosen:,}", "")
    return table


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"
