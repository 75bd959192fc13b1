"""The filesystem: fsspec's methods over the layers below."""
