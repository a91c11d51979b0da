"""Storage: files by path or URL, calls that are tried again, and files that only one process replaces."""
