"""Task-aware corruption: pure functions of a conversation or an image, and a seed."""
