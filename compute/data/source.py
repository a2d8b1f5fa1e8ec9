"""Where a dataset's rows come from: CSV, Parquet, PostgreSQL or MySQL, declared in the node's TOML.

    [dataset.source]
    kind = "csv"                     # csv | parquet | postgresql | mysql (MariaDB too)
    path = "patients.csv"            # csv, parquet; relative to the folder of the TOML file
    delimiter = ","                  # csv
    dsn_file = "database.dsn"        # databases: file that holds postgresql://user:password@host/db or mysql://…
    table = "clinic.patients"        # databases: a table or view, or instead:
    query = "SELECT … FROM …"
    keys = ["patient_id"]            # columns that name a row's subject, the usual join keys

    [[dataset.source.columns]]
    name = "patient_id"
    type = "string"                  # string integer number boolean date timestamp
    grade = "L3"                     # L1 public … L4 never leaves
    nullable = false

Columns that are not declared are not read. Every source gives the same Arrow types (`compute.data.columns`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from compute.data import csv_source, mysql_source, parquet_source, postgresql_source
from compute.data.columns import ColumnConfig
from compute.errors import DataError

_DATABASES = {"postgresql": postgresql_source, "mysql": mysql_source}
_CONTENT = b"liutong/source/v1\x00"
_Setting = Annotated[str, Meta(max_length=20_000)]


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The declaration; decoding one that contradicts itself raises `msgspec.ValidationError`."""

    kind: Literal["csv", "parquet", "postgresql", "mysql"]
    columns: Annotated[tuple[ColumnConfig, ...], Meta(min_length=1, max_length=2000)]
    keys: tuple[str, ...] = ()
    path: _Setting = ""
    delimiter: Literal[",", ";", "\t", "|"] = ","
    dsn_file: _Setting = ""
    table: _Setting = ""
    query: _Setting = ""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("a column is declared twice")
        if unknown := set(self.keys) - set(names):
            raise ValueError(f"keys names columns that are not declared: {sorted(unknown)}")
        if self.kind in _DATABASES:
            if not self.dsn_file or bool(self.table) == bool(self.query) or self.path:
                raise ValueError(f"a {self.kind} source needs dsn_file and either table or query")
        elif not self.path or self.dsn_file or self.table or self.query:
            raise ValueError(f"a {self.kind} source needs path, and neither dsn_file, table nor query")


class Source:
    """A declared source that can be read. Holds no connection and no rows between reads."""

    def __init__(self, config: SourceConfig, base: Path) -> None:
        """``base`` is the folder that relative paths start from."""
        self.config = config
        self._base = Path(base)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of the named columns (default: all declared), in the source's stable order.

        Raises DataError that names file, line or row, column and reason, never a value. To check the
        registered commitment read all columns, commit, then select from that same table: a file may
        change between two reads.
        """
        return pa.Table.from_batches(self.batches(columns), schema=self.schema(columns))

    def schema(self, columns: Sequence[str] | None = None) -> pa.Schema:
        """Names and Arrow types of the named columns; raises DataError for one that is not declared."""
        return pa.schema([(column.name, column.arrow_type) for column in self._wanted(columns)])

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """What `read` gives, batch by batch, holding a few batches at a time whatever the source's size.

        A database keeps its snapshot open meanwhile, for `STATEMENT_TIMEOUT_S` at most. Raises DataError as
        `read` does: for the columns now, for a value when its batch is reached, so what came before it must
        not be used until the end was seen. Close the iterator to stop early.
        """
        wanted = self._wanted(columns)
        config = self.config
        if config.kind in _DATABASES:
            return self._database_batches([column.name for column in wanted])
        path = self._file()
        if config.kind == "csv":
            return csv_source.batches(path, config.delimiter, wanted)
        return parquet_source.batches(path, wanted)

    def content_digest(self) -> bytes | None:
        """32 bytes over a file's whole content and how it is read; None for a database, which only reading
        tells about. Raises DataError if the file cannot be read."""
        if self.config.kind in _DATABASES:
            return None
        path = self._file()
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}", file=path.name) from error
        declared = msgspec.json.encode(self.config, order="deterministic")
        return hashlib.sha256(_CONTENT + hashlib.sha256(declared).digest() + content).digest()

    def _wanted(self, columns: Sequence[str] | None) -> list[ColumnConfig]:
        declared = {column.name: column for column in self.config.columns}
        names = list(declared) if columns is None else list(columns)
        for name in names:
            if name not in declared:
                raise DataError(
                    f"the dataset has no column {name!r}; it has {', '.join(map(repr, declared))}",
                    column=name,
                )
        if not names or len(set(names)) != len(names):
            raise DataError("a read names at least one column, and each once")
        return [declared[name] for name in names]

    def _database_batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        config = self.config
        database = _DATABASES[config.kind]
        name, relation = "the query", f"({config.query})"
        if config.table:
            name, relation = config.table, database.quoted_table(config.table)
        # The order of rows is by all declared columns, so all are read.
        batches = database.batches(name, self._base / config.dsn_file, relation, config.columns)
        try:
            for batch in batches:
                yield batch.select(names)
        finally:
            batches.close()

    def _file(self) -> Path:
        path = self._base / self.config.path
        if any(character in str(path) for character in "*?[]{}\x00"):
            raise DataError(f"the path {path} holds a character of * ? [ ] {{ }}: rename it")
        if not path.is_file():
            raise DataError(f"{path} is not a file: check the source's path", file=path.name)
        return path
