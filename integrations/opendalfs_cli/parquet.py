"""The command `parquet`: schema, row groups, sizes and places of the columns of a file, from its footer."""

from __future__ import annotations

from typing import Any, Final

import click

import opendalfs

from .arguments import human_option, json_option, storage_command
from .failures import Failure
from .locations import Location, matches, open_location
from .output import echo, print_json, shown, size_text

__all__ = ["parquet"]

_TAIL: Final = 64 << 10
"""Bytes read from the end of a file; a longer footer takes a second read."""


@storage_command("parquet")
@click.argument("url")
@human_option
@json_option
def parquet(url: str, human: bool, as_json: bool, options: dict[str, str]) -> None:
    """Print the schema, the row groups and the sizes of the columns of a Parquet file.

    Reads only the footer. --json has the range of each column in each row group.
    """
    opendalfs.arrow  # noqa: B018  # raises if pyarrow is missing
    [location] = matches(open_location(url, options))[:1]
    found = _description(location)
    if as_json:
        print_json(found)
        return
    _print(found, human)


def _footer(location: Location) -> tuple[Any, int, int]:
    """Return the parsed footer, its size and that of the file; raise Failure for other files."""
    from opendalfs_arrow.footer import Footer

    with location.fs.open(location.path, "rb") as file:
        size = file.reader.size
        tail = file.reader.read(max(size - _TAIL, 0), min(size, _TAIL))
        if tail[-4:] == b"PARE":
            raise Failure(f"{location.url()} has an encrypted footer")
        if size < 12 or tail[-4:] != b"PAR1":
            raise Failure(f"{location.url()} is not a Parquet file")
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if length > size:
            raise Failure(f"{location.url()} is damaged: its footer is longer than the file")
        if length > len(tail):
            tail = file.reader.read(size - length, length)
    footer = Footer.parse(tail[len(tail) - length :])
    if footer is None:
        raise Failure(f"{location.url()} has a footer that pyarrow cannot read, or encrypted columns")
    return footer, length, size


def _description(location: Location) -> dict[str, Any]:
    """Return what a file holds, and where."""
    footer, length, size = _footer(location)
    metadata = footer.metadata
    columns = [
        {
            "name": metadata.schema.column(i).path,
            "type": _type(metadata.schema.column(i)),
            "bytes": 0,
            "uncompressed": 0,
        }
        for i in range(metadata.num_columns)
    ]
    groups = []
    for g in range(metadata.num_row_groups):
        group, chunks = metadata.row_group(g), []
        for chunk in footer.chunks(g) if metadata.num_columns else []:
            details = group.column(chunk.column)
            column = columns[chunk.column]
            column["bytes"] += chunk.range.stop - chunk.range.start
            column["uncompressed"] += details.total_uncompressed_size
            column["codec"] = details.compression
            chunks.append(
                {
                    "column": column["name"],
                    "offset": chunk.range.start,
                    "bytes": chunk.range.stop - chunk.range.start,
                    "encodings": list(details.encodings),
                }
            )
        groups.append({"rows": group.num_rows, "bytes": sum(c["bytes"] for c in chunks), "chunks": chunks})
    return {
        "url": location.url(),
        "bytes": size,
        "rows": metadata.num_rows,
        "footer": {"offset": size - length, "bytes": length},
        "written_by": metadata.created_by,
        "columns": columns,
        "row_groups": groups,
    }


def _type(column: Any) -> str:
    logical = str(column.logical_type)
    return (
        str(column.physical_type).lower()
        if logical == "None"
        else f"{column.physical_type.lower()} {logical}"
    )


def _print(found: dict[str, Any], human: bool) -> None:
    columns, groups, footer = found["columns"], found["row_groups"], found["footer"]
    size = size_text(found["bytes"], human) + ("" if human else " bytes")
    echo(f"{shown(found['url'])}: {size}, written by {shown(found['written_by'])}")
    echo(f"{found['rows']} rows, {len(columns)} columns, {len(groups)} row groups")
    echo()
    width = max([len("column"), *(len(shown(column["name"])) for column in columns)])
    echo(f"{'column':<{width}}  {'bytes':>13}  {'share':>6}  {'uncompressed':>13}  {'codec':<12}  type")
    for column in columns:
        share = 100 * column["bytes"] / found["bytes"]
        packed, plain = size_text(column["bytes"], human), size_text(column["uncompressed"], human)
        sizes = f"{packed:>13}  {share:>5.1f}%  {plain:>13}"
        codec = column.get("codec", "-")
        echo(f"{shown(column['name']):<{width}}  {sizes}  {codec:<12}  {shown(column['type'])}")
    share = 100 * footer["bytes"] / found["bytes"]
    echo(f"{'(footer)':<{width}}  {size_text(footer['bytes'], human):>13}  {share:>5.1f}%")
    echo()
    echo(f"{'row group':>9}  {'rows':>13}  {'bytes':>13}  from offset to")
    for i, group in enumerate(groups):
        start = min((chunk["offset"] for chunk in group["chunks"]), default=0)
        stop = max((chunk["offset"] + chunk["bytes"] for chunk in group["chunks"]), default=0)
        echo(f"{i:>9}  {group['rows']:>13}  {size_text(group['bytes'], human):>13}  {start} {stop}")
