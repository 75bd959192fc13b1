"""Listings of directories and trees, as info dicts, and their cache."""

from .cache import Listings
from .directory import (
    exclude_staged,
    keeps_directories,
    list_directory,
    list_flat,
    list_versions,
    may_be_index,
)
from .info import Info, directory_info, entry_info, sort_infos, stat_info, without_marker
from .table import ListingTable
from .tree import list_single_page, list_tree

__all__ = [
    "Info",
    "ListingTable",
    "Listings",
    "directory_info",
    "entry_info",
    "exclude_staged",
    "keeps_directories",
    "list_directory",
    "list_flat",
    "list_single_page",
    "list_tree",
    "list_versions",
    "may_be_index",
    "sort_infos",
    "stat_info",
    "without_marker",
]
