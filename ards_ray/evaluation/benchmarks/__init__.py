"""One file for each benchmark: its published form, read into questions."""
