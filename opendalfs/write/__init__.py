"""Writes: from bytes to a committed object."""
