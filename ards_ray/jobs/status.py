"""How far a run is, from its directory alone, also while a job works on it."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from time import time

from rich.console import Console

from ards_ray.console import print_failures, say, table_of
from ards_ray.errors import ArdsError
from ards_ray.run.directory import RUN_FILE, Part, RunDirectory
from ards_ray.run.lease import Lease, read_lease
from ards_ray.run.state import RunState
from ards_ray.signals.inputs import is_current

STAGES = ("conversations", "signals", "clusters", "subgroups", "scores", "mixture")


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
    conversations, signals = run.parts("conversations"), run.parts("signals")
    total = sum(part.rows for part in conversations)
    scored = sum(part.rows for part in signals)
    table = table_of("stage", "state", "done", "of", "seconds")
    for name in STAGES:
        record = state.stages.get(name)
        done, whole = {"conversations": (total, 0), "signals": (scored, total)}.get(name, (0, 0))
        table.add_row(
            name,
            _state(state, signals, name, lease is not None),
            f"{done:,}" if done else "",
            f"{whole:,}" if whole else "",
            f"{record.seconds:,.1f}" if record is not None and record.complete else "",
        )
    console.print(table)
    if scored:
        say(console, f"Shards: {len(signals):,} of {len(conversations):,} scored.")
    rate = _rate(signals, lease)
    if rate and scored < total:
        left = timedelta(seconds=round((total - scored) / rate))
        say(console, f"Rate: {rate:,.1f} conversations/s; {left} left.")
    reasons: Counter[str] = Counter()
    for part in signals:
        reasons.update(part.details["reasons"])
    if reasons:
        print_failures(reasons, console)


def _state(state: RunState, signals: Sequence[Part], stage: str, at_work: bool) -> str:
    if stage not in state.stages:
        return "not begun"
    if is_current(state, signals, stage):
        return "done"
    if state.stages[stage].complete:
        return "to be redone"
    return "at work" if at_work else "stopped"


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
