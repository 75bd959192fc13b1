"""A loopback S3 server over any service of opendalfs."""
