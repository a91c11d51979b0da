"""The size of a mixture."""


def budget_count(budget: int | float, conversations: int) -> int:
    """The size that a budget asks for: int(budget · conversations) for a fraction, else the count itself."""
    return int(budget * conversations) if budget < 1 else int(budget)
