"""Scans by several processes, and processes that fork."""
