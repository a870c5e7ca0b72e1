"""Removing the files of jobs that have ended: derived from the journal, tried until it is done."""
