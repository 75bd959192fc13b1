"""Run the FTP server of pyftpdlib over a directory, with a user, and a reader without write permission.

It runs as a script: ``python ftp_server.py HOST PORT DIRECTORY USER READER PASSWORD``.
"""

from __future__ import annotations

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer


class Handler(FTPHandler):
    """Refuse a wrong password at once rather than after seconds."""

    auth_failed_timeout = 0


def main(host: str, port: str, directory: str, user: str, reader: str, password: str) -> None:
    """Serve until killed."""
    authorizer = DummyAuthorizer()
    authorizer.add_user(user, password, directory, perm="elradfmwMT")
    authorizer.add_user(reader, password, directory, perm="elr")
    Handler.authorizer = authorizer
    ThreadedFTPServer((host, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
