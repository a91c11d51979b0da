"""Measure the product on this machine: `python jobs/benchmark.py --help`."""

# Python put this folder on the path, where a file hides the standard module `select`, which Ray imports:
# the repository takes its place before anything else is imported.
import sys

sys.path[:] = [entry.rstrip("/").removesuffix("/jobs") for entry in sys.path]

from ards_ray.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
