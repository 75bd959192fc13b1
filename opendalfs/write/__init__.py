"""Writes: from bytes to a published object."""
