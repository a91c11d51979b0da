"""Storage: files by path or URL, calls that are tried again, and files that one process replaces at a time."""
