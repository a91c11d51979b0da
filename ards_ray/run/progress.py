"""Progress of a stage: a bar in a terminal, a plain line now and then elsewhere."""

from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 10.0


class StageProgress:
    """Counts what a stage has done; a context manager."""

    def __init__(self, console: Console, stage: str, total: int | None, unit: str):
        self._console = console
        self._stage = stage
        self._total = total
        self._unit = unit
        self._done = 0
        self._started = monotonic()
        self._last_line = self._started
        self._bar: Progress | None = None

    def __enter__(self) -> "StageProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:13}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task(self._stage, total=self._total, rate="")
            self._bar.start()
        return self

    def advance(self, count: int = 1) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, rate=f"{self._rate:,.1f} {self._unit}/s")
        elif monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = monotonic()
            self._console.print(self._line(), highlight=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            seconds = monotonic() - self._started
            self._console.print(f"{self._stage}: {self._done:,} {self._unit} in {seconds:.1f} s", highlight=False)

    @property
    def _rate(self) -> float:
        return self._done / max(monotonic() - self._started, 1e-9)

    def _line(self) -> str:
        line = f"{self._stage}: {self._done:,}"
        if self._total is not None:
            line += f" of {self._total:,}"
        line += f" {self._unit}, {self._rate:,.1f}/s"
        if self._total is not None and self._done:
            line += f", {(self._total - self._done) / self._rate:,.0f} s left"
        return line
