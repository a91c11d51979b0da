"""Measure a model under permutation and symbol attacks: `python jobs/evaluate.py --help`."""

# Python put this folder on the path, where a file hides the standard module `select`, which Ray imports:
# the repository takes its place before anything else is imported.
import sys

jobs = {__file__.rpartition("/")[0], sys.path[0] if sys.path[0].endswith("/jobs") else __file__}
sys.path[:] = [entry.removesuffix("/jobs") if entry in jobs else entry for entry in sys.path]

from ards_ray.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
