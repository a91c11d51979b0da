"""What one task of each stage does: tables in, tables out. None knows who runs it."""
