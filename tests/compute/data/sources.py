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
# What no database may hold in a column: its SQL type, a value, the type declared, and why not.
WRONG = {
    "text for an integer": ("text", "'1'", "integer", "is (text|string), but is declared as integer"),
    "text for a number": ("text", "'1'", "number", "is (text|string), but is declared as number"),
    "text for a date": ("text", "'2024-01-01'", "date", "is (text|string), but is declared as date"),
    "an integer for text": ("int", "1", "string", "is (long|int4), but is declared as string"),
    "an integer for a boolean": ("int", "1", "boolean", "is (long|int32), but is declared as boolean"),
    "missing": ("text", "null", "string", "nullable"),
    "empty": ("text", "''", "string", "nullable"),
}
# The same rows, stored in two orders.
STORED = {"x": "('b', 1), ('B', 2), ('ä', 3), ('b', 0)", "y": "('ä', 3), ('b', 0), ('B', 2), ('b', 1)"}


def declare(base, columns=COLUMNS, **settings):
    config = {"kind": "csv", "columns": list(columns)} | settings
    return Source(msgspec.convert(config, SourceConfig), base)
