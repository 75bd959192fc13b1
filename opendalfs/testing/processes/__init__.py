"""Programs that the servers and proxies of `opendalfs.testing` run as processes of their own."""
