"""A TypedDict for each service class: its options by name and type, for type checkers and editors.

Each joins the options of OpenDAL, their names in peer libraries, and `CommonOptions`.

Examples
--------
>>> from opendalfs.option_types import S3Options
>>> options: S3Options = {"region": "eu-central-1", "retries": 2}
"""

import typing as _typing

if _typing.TYPE_CHECKING:
    from opendalfs.option_types.common import *  # noqa: F403
    from opendalfs.option_types.object_stores import *  # noqa: F403
    from opendalfs.option_types.other_services import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        # Imported on first use, as making the classes takes milliseconds.
        from importlib import import_module

        for module in ("common", "object_stores", "other_services") if name.endswith("Options") else ():
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
