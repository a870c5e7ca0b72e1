"""Telling clients by HTTP what became of their jobs: derived from the journal, sent until it is taken."""
