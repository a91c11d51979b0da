"""Checkpoints of the original LLaVA form, converted to the Hugging Face format."""
