"""Instruction corpora: reading, formats, multiple choice, images, shards, and writing the mixture."""
