"""The errors of the package. Each class states the exit code of the job."""


class ArdsError(Exception):
    """The job cannot continue. The message names the file, row or key and says what to do."""

    exit_code = 1


class SettingsError(ArdsError):
    """A setting or an input file is wrong; raised before any work is done."""

    exit_code = 2


class CorpusError(SettingsError):
    """A corpus file cannot be read. The message names the file and the position."""


class RunChanged(SettingsError):
    """The settings or inputs differ from those that the run directory was made with."""


class TooManyFailed(ArdsError):
    """More conversations failed than `limits.failed_fraction` allows."""

    exit_code = 3


class RunHeld(ArdsError):
    """Another driver works on the run."""

    exit_code = 4


class ConversationError(Exception):
    """One conversation cannot be used. It becomes a failed row; the job continues.

    The message is `reason` or `reason: detail`; failures are counted by reason.
    """

    def __init__(self, reason: str, detail: str | None = None):
        super().__init__(f"{reason}: {detail}" if detail else reason)


def reason_of(error: str) -> str:
    """Return the reason in a failed row's `error`: the text before the first `: `."""
    return error.split(": ", 1)[0]
