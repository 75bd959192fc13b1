"""Threads, event loops, forks, exits and Ctrl-C."""
