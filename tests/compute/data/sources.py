"""Sources for data tests: a declaration from plain dicts, as a TOML file gives it."""

from __future__ import annotations

import msgspec

from compute.data.source import Source, SourceConfig

COLUMNS = (
    {"name": "id", "type": "string"},
    {"name": "age", "type": "integer"},
    {"name": "radius", "type": "number"},
)
EVERY_TYPE = (
    {"name": "s", "type": "string", "nullable": True},
    {"name": "i", "type": "integer", "nullable": True},
    {"name": "n", "type": "number", "nullable": True},
    {"name": "b", "type": "boolean", "nullable": True},
    {"name": "d", "type": "date", "nullable": True},
    {"name": "t", "type": "timestamp", "nullable": True},
)


def declare(base, columns=COLUMNS, **settings):
    config = {"kind": "csv", "columns": list(columns)} | settings
    return Source(msgspec.convert(config, SourceConfig), base)
