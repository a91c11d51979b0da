"""How far a run is, from its directory alone, also while a job works on it."""

from collections.abc import Sequence
from datetime import timedelta
from time import time

import yaml
from rich.console import Console

from ards_ray.console import print_failures, say, shown, table_of
from ards_ray.corpus.table import CONVERSATIONS
from ards_ray.errors import ArdsError
from ards_ray.methods.ranking import mixture_stage
from ards_ray.run.directory import CONFIG_FILE, RUN_FILE, Part, RunDirectory
from ards_ray.run.fields import fields_problem
from ards_ray.run.lease import Lease, read_lease
from ards_ray.run.stage import is_current
from ards_ray.run.state import RunState
from ards_ray.signals.failures import failure_reasons
from ards_ray.signals.registry import SIGNALS


def print_status(url: str, console: Console) -> None:
    """Shards done, rate, time left, failures by reason.

    Raises:
        ArdsError: it is no run of this version.
    """
    run = RunDirectory(url)
    lease = read_lease(run)
    if not run.exists(RUN_FILE) and lease is None:
        raise ArdsError(f"{run.url}: no run is there")
    state = RunState(run)
    say(console, f"Run: {run.url}")
    say(console, _driver(lease))
    evaluation = state.stages.get("answers")
    if evaluation is not None:
        answers = sum(part.rows for part in run.parts("answers"))
        say(console, f"Evaluation: {'done' if evaluation.complete else 'not finished'}, {answers:,} answers.")
        return
    if lease is not None and not _is_at_work(lease):
        lease = None
    conversations = CONVERSATIONS.parts(run)
    signals = {name: signal.table.parts(run) for name, signal in SIGNALS.items() if SIGNALS[name].stage in state.stages}
    total = sum(part.rows for part in conversations)
    rows = {SIGNALS[name].stage: sum(part.rows for part in parts) for name, parts in signals.items()}
    table = table_of("stage", "state", "done", "of", "seconds")
    for name, record in state.stages.items():
        done, whole = (total, 0) if name == CONVERSATIONS.folder else (rows.get(name, 0), total if name in rows else 0)
        table.add_row(
            name,
            _state(run, state, name, lease is not None),
            f"{done:,}" if done else "",
            f"{whole:,}" if whole else "",
            f"{record.seconds:,.1f}" if record.complete else "",
        )
    for name in _methods(run):
        if mixture_stage(name) not in state.stages:
            table.add_row(shown(mixture_stage(name)), "not begun", "", "", "")
    console.print(table)
    slowest = min(signals, key=lambda name: rows[SIGNALS[name].stage], default=None)
    if slowest is not None and signals[slowest]:
        parts, scored = signals[slowest], rows[SIGNALS[slowest].stage]
        say(console, f"Shards: {len(parts):,} of {len(conversations):,} scored.")
        rate = _rate(parts, lease)
        if rate and scored < total:
            left = timedelta(seconds=round((total - scored) / rate))
            say(console, f"Rate: {rate:,.1f} conversations/s; {left} left.")
    if reasons := failure_reasons(run, list(signals)):
        print_failures(reasons, console)


def _state(run: RunDirectory, state: RunState, stage: str, at_work: bool) -> str:
    if is_current(run, state, stage):
        return "done"
    if state.stages[stage].complete:
        return "to be redone"
    return "at work" if at_work else "stopped"


def _methods(run: RunDirectory) -> list[str]:
    """The methods that the run's settings name; none where its settings are not there or cannot be read."""
    if not run.exists(CONFIG_FILE):
        return []
    try:
        content = yaml.safe_load(run.read_bytes(CONFIG_FILE))
    except yaml.YAMLError:
        return []
    return [] if fields_problem(content, {"methods": list}) else content["methods"]


def _is_at_work(lease: Lease) -> bool:
    return not lease.is_dead() and time() - lease.heartbeat <= lease.expires_seconds


def _driver(lease: Lease | None) -> str:
    if lease is None:
        return "No driver is at work."
    if not _is_at_work(lease):
        return f"No driver is at work; the last, {lease.holder}, ended without a word."
    return f"At work: {lease.holder}, since {timedelta(seconds=round(time() - lease.since))}."


def _rate(signals: Sequence[Part], lease: Lease | None) -> float | None:
    """Conversations in a second, from the first shard that the driver at work finished to the last; None if unknown."""
    if lease is None:
        return None
    finished = sorted((part.finished, part.rows) for part in signals if part.finished >= lease.since)
    if len(finished) < 2 or finished[-1][0] <= finished[0][0]:
        return None
    return sum(rows for _, rows in finished[1:]) / (finished[-1][0] - finished[0][0])
