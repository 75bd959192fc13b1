"""The command line `opendalfs`: files of every service, in a terminal and in scripts.

=========================  ===================================================================================
`program`                  the group of commands, and what all of them have in common
`failures`                 messages and exit codes of errors
`arguments`, `locations`   the URLs and options of a command, and their filesystems
`output`, `progress`       text, JSON, and progress bars on a terminal
other modules              the commands, by subject
=========================  ===================================================================================
"""

from .program import main

__all__ = ["main"]
