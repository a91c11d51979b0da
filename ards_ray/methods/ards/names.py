"""Names of subgroups."""

WHOLE_CORPUS = "all"


def subgroup_name(format: str, cluster: int) -> str:
    """The subgroup of a format's cluster: `choice-003`."""
    return f"{format}-{cluster:03d}"
