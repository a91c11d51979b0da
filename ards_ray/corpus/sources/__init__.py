"""The forms that corpus files have: each a class in a file of its own, listed in `registry.FORMS`."""
