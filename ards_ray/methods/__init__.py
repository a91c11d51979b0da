"""Selection methods: one file for each, ARDS a folder."""
