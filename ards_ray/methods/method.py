"""What a selection method is: signals that it wants, stages of arithmetic on tables, and at the end a ranking."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ards_ray.arrays.best import best
from ards_ray.arrays.shares import largest_remainders
from ards_ray.config import Settings
from ards_ray.corpus.columns import read_by_row, tables
from ards_ray.corpus.folders import source_folders
from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.table import CONVERSATIONS, corpus_formats
from ards_ray.run.directory import RunDirectory
from ards_ray.run.stage import Job, Stage
from ards_ray.run.table import Table
from ards_ray.signals.failures import failed_rows
from ards_ray.signals.registry import SIGNALS


@dataclass(frozen=True)
class Ranking:
    """What a method says of the corpus: arrays [conversations] whose index is the row.

    Attributes:
        score: float32, the higher the better.
        eligible: bool, whether the conversation can be chosen.
        group: int32, what the method groups by (subgroup, cluster, task) as an index into `groups`; -1 for none.
        groups: Names of the groups.
    """

    score: np.ndarray
    eligible: np.ndarray
    group: np.ndarray | None = None
    groups: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Counts:
    """What is known of a corpus before anything is computed.

    Attributes:
        formats: Conversations of each format.
        corruptible: Those of them that can be corrupted.
    """

    formats: Mapping[str, int]
    corruptible: Mapping[str, int]

    @property
    def conversations(self) -> int:
        """All conversations."""
        return sum(self.formats.values())


@dataclass(frozen=True)
class Corpus:
    """A run's corpus and its signals, as methods see it.

    Attributes:
        job: The job.
        signals: Names of the signals that the method uses.
    """

    job: Job
    signals: Sequence[str]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Conversations by format."""
        return corpus_formats(CONVERSATIONS.parts(self.job.run))

    @property
    def size(self) -> int:
        """Conversations."""
        return sum(self.counts.values())

    @cached_property
    def formats(self) -> np.ndarray:
        """The format of each conversation, int8 [conversations], as an index into `FORMATS`."""
        run = self.job.run
        return read_by_row(run, CONVERSATIONS, ["format"], self.size)["format"]

    @cached_property
    def folders(self) -> tuple[np.ndarray, list[str]]:
        """The source folder of each conversation, int32 [conversations], as an index into the sorted names."""
        run = self.job.run
        known: dict[str, int] = {}
        codes = np.zeros(self.size, np.int32)
        for table in tables(run, CONVERSATIONS.parts(run), ["row", "images", "source"]):
            found = source_folders(table["images"], table["source"]).combine_chunks().dictionary_encode()
            numbers = [known.setdefault(name, len(known)) for name in found.dictionary.to_pylist()]
            codes[table["row"].to_numpy()] = np.array(numbers, np.int32)[found.indices.to_numpy()]
        names = sorted(known)
        place = np.empty(len(known), np.int32)
        place[[known[name] for name in names]] = np.arange(len(known))
        return place[codes], names

    @cached_property
    def failed(self) -> np.ndarray:
        """Whether a signal of the method failed for a conversation, bool [conversations]."""
        return failed_rows(self.job.run, self.signals, self.size)


class Method(ABC):
    """A selection method. One file of its own, one test, one line in the registry.

    Attributes:
        name: Its name, as `--method` takes it.
        version: Raised when its code changes its numbers.
        section: Its section of the settings, a frozen dataclass; None where it has none.
        tables: The tables of its stages.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    section: ClassVar[type | None] = None
    tables: ClassVar[Sequence[Table[Any]]] = ()

    def own(self, settings: Settings) -> Any:
        """The method's section of the settings."""
        assert self.section is not None
        return getattr(settings, self.name, None) or self.section()

    def resolved(self, settings: Settings) -> Settings:
        """The settings with paths that mean the same wherever a task runs.

        Raises:
            SettingsError: one that the method needs is not stated.
        """
        return settings

    def signals(self, settings: Settings) -> Sequence[str]:
        """Names of the signals that it wants of all conversations; without any no model is loaded."""
        return ()

    def signals_of_some(self, settings: Settings) -> Sequence[str]:
        """Names of the signals that one of its stages asks of some conversations."""
        return ()

    def reads(self, settings: Settings, counts: Counts) -> dict[str, int]:
        """For each of its signals, of how many conversations at most it is computed, as `--plan` tells it."""
        return {
            name: sum(counts.corruptible.values()) if SIGNALS[name].versions == "corrupted" else counts.conversations
            for name in self.signals(settings)
        }

    def check(self, job: Job) -> None:
        """Check what the method needs, before any work.

        Raises:
            SettingsError: something of it is missing.
        """

    def check_corpus(self, corpus: Corpus) -> None:
        """Check that the method has something to select from; the conversations are there, the signals are not.

        Raises:
            SettingsError: it has not.
        """

    def stages(self, job: Job) -> Sequence[Stage]:
        """Its arithmetic on tables, in order; each stage is done only where it is missing."""
        return ()

    def depends(self, job: Job) -> Mapping[str, Any]:
        """What its ranking and its choice depend on, beside its stages, signals and the settings of the mixture."""
        return {}

    @abstractmethod
    def rank(self, corpus: Corpus) -> Ranking:
        """The ranking, once stages and signals are there."""

    def size(self, corpus: Corpus, budget: int) -> int:
        """How many conversations its mixture should have, given what the budget asks for."""
        return budget

    def choose(self, corpus: Corpus, ranking: Ranking, size: int) -> np.ndarray:
        """The conversations of the mixture, bool [conversations]: the best scores, equal ones by row.

        With `mixture.quota` each format gets its share of the corpus, and what one cannot fill goes to the best of the
        rest.
        """
        selected = np.zeros(corpus.size, dtype=bool)
        if corpus.job.settings.mixture.quota == "format":
            for name, share in largest_remainders(corpus.counts, size).items():
                take_best(selected, ranking, corpus.formats == FORMATS.index(name), share)
        take_best(selected, ranking, ~selected, size - int(selected.sum()))
        return selected

    def summary(self, corpus: Corpus, ranking: Ranking) -> dict[str, Any]:
        """What it adds to summary.json."""
        return {}

    def problems(self, run: RunDirectory, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What is wrong with its tables, as `ards-ray verify` tells it: paths, and what is wrong with each.

        Args:
            run: The run, whose files are whole.
            summary: The content of the method's summary.json.
        """
        yield from ()


def take_best(selected: np.ndarray, ranking: Ranking, where: np.ndarray, size: int) -> None:
    """Select the best of some conversations, equal ones by row.

    Args:
        selected: bool [conversations]; is changed.
        ranking: The ranking.
        where: bool [conversations], those to take from.
        size: How many.
    """
    rows = np.flatnonzero(ranking.eligible & where)
    selected[rows[best(rows, ranking.score[rows], size)]] = True
