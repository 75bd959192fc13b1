"""Reads: from ranges of an object to bytes."""
