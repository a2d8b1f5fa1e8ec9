"""An opened result as a file: JSON as it is, or one of the tables in it as CSV or Parquet.

Results are what each kind's README says. The tables in them are found by their form:

    {"left": {"columns": […], "rows": […]}, …}     one table per role
    {"groups": {"name": {"count": …}, …}}          one row per group
    {"answers": [{"found": …, "records": […]}]}    one row per record found, or per query that found none
    {"answers": [true, …]}                         one row per query
    {"answers": [true, false]}                     one row per query
    {"count": 7}                                   one row, where there are single values alone
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from compute.data import table_file
from compute.errors import BadInput

ResultFormat = Literal["json", "csv", "parquet"]


def write_result(
    value: Any,
    path: str | Path,
    result_format: ResultFormat,
    *,
    part: str | None = None,
    columns: Sequence[str] | None = None,
    exact: bool = False,
) -> int:
    """Write a result's ``value`` to ``path``, which it replaces: all of it, or the file is as it was.

    ``part`` names the table (a role, "groups", "answers") where there are several; ``columns`` are those to
    write, in this order; ``exact`` leaves texts of a CSV as they are (`compute.data.table_file`). Returns the
    number of rows, 1 for JSON. Raises BadInput if the result has no such table or column, DataError or
    DiskFull if the file cannot be written.
    """
    path = Path(path)
    if result_format == "json":
        if part is not None or columns is not None:
            raise BadInput("a result is written to JSON as it is: no part, no columns")
        try:
            content = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise BadInput("the result holds NaN or infinity, for which JSON has no words") from error
        with table_file.replacing(path) as file:
            file.write(content)
        return 1
    table = _chosen(result_tables(value), part)
    if columns is not None:
        if missing := [name for name in columns if name not in table.column_names]:
            known = ", ".join(map(repr, table.column_names))
            raise BadInput(f"the result has no column {missing[0]!r}; it has {known}")
        if not columns or len(set(columns)) != len(columns):
            raise BadInput("name at least one column, and each once")
        table = table.select(list(columns))
    return table_file.write(path, result_format, table.schema, table.to_batches(), exact=exact)


def result_tables(value: Any) -> dict[str, pa.Table]:
    """The tables in a result by name; raises BadInput if one holds values of several types in a column."""
    if not isinstance(value, Mapping):
        return {}
    found = {
        name: _table(part["columns"], part["rows"])
        for name, part in value.items()
        if isinstance(part, Mapping) and "columns" in part and "rows" in part
    }
    if isinstance(value.get("groups"), Mapping):
        found["groups"] = _of_records([{"group": name, **group} for name, group in value["groups"].items()])
    if isinstance(value.get("answers"), Sequence):
        found["answers"] = _of_records(_answered(value["answers"]))
    if not found:
        single = _flat(value)
        if single and not any(isinstance(part, Mapping | list | tuple) for part in single.values()):
            found["result"] = _of_records([single])
    return found


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """Single values, those of the protocol that ran too (``protocol.name``); what is missing is left out."""
    protocol = value.get("protocol")
    told = protocol if isinstance(protocol, Mapping) else {}
    single = {name: part for name, part in value.items() if part is not None and part is not told}
    return single | {f"protocol.{name}": part for name, part in told.items()}


def _answered(answers: Sequence[Mapping[str, Any] | bool]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, given in enumerate(answers, 1):
        answer: Mapping[str, Any] = {"found": given} if isinstance(given, bool) else given
        head = {"query": number, **{name: cell for name, cell in answer.items() if name != "records"}}
        for record in answer.get("records") or [{}]:
            if both := head.keys() & record.keys():
                raise BadInput(
                    f"the records have a column {min(both)!r} of their own: write the result as json"
                )
            rows.append({**head, **record})
    return rows


def _of_records(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return _table(columns, [[record.get(name) for name in columns] for record in records])


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    cells = zip(*rows, strict=True) if rows else ([] for _ in columns)
    arrays = []
    for name, values in zip(columns, cells, strict=True):
        try:
            array = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError):
            raise BadInput(
                f"column {name!r} holds values of several types: write the result as json"
            ) from None
        # A column without any value has no type of its own.
        arrays.append(array.cast(pa.string()) if pa.types.is_null(array.type) else array)
    return pa.Table.from_arrays(arrays, names=list(columns))


def _chosen(tables: Mapping[str, pa.Table], part: str | None) -> pa.Table:
    if not tables:
        raise BadInput("this result is no table: write it as json")
    if part is None:
        if len(tables) > 1:
            raise BadInput(f"the result has several tables: choose a part, one of {', '.join(tables)}")
        return next(iter(tables.values()))
    if part not in tables:
        raise BadInput(f"the result has no table {part!r}; it has {', '.join(tables)}")
    return tables[part]
