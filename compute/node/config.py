"""A node's configuration: one TOML file, every key typed, unknown keys refused.

`compute/node/node.example.toml` shows each setting with its default. An environment variable
``LIUTONG_NODE__SECTION__KEY`` overrides one scalar (``LIUTONG_NODE__CHAIN__RPC_URL=http://…``). Relative
paths are relative to the file's folder. Secrets are never in the file: only paths to them are.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from compute.data.source import SourceConfig
from compute.errors import BadInput
from compute.wire.messages import Address, Column, DatasetSchema, Hex32, Name, OperationName, Text

ENVIRONMENT_PREFIX = "LIUTONG_NODE__"
NOBODY = "0x" + "00" * 32

Seconds = Annotated[int, Meta(ge=1, le=31_536_000)]
Positive = Annotated[int, Meta(ge=1, le=1 << 40)]
RoleName = Literal["provider", "consumer", "regulator", "operator"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table of the file."""


class ChainSettings(_Section, frozen=True):
    """Which chain decides. ``finality_depth``: how many blocks must lie on top of what is believed."""

    rpc_url: str = "http://127.0.0.1:8601"
    address_book: Address | None = None
    finality_depth: Annotated[int, Meta(ge=0, le=10_000)] = 0
    timeout_s: Seconds = 10
    # How often a running job looks whether its grant was revoked meanwhile.
    revocation_poll_s: Seconds = 2


class PortalSettings(_Section, frozen=True):
    """Which key may call the portal's endpoints; None: no portal may."""

    address: Address | None = None
    party: Hex32 = NOBODY


class KeySettings(_Section, frozen=True):
    """The sealed key store. ``passphrase_file`` (mode 600) holds a passphrase or random key bytes."""

    store: str = "keys.sealed"
    passphrase_file: str = "passphrase"  # noqa: S105 - a path
    cipher: Literal["aes-256-gcm", "sm4-gcm"] = "aes-256-gcm"


class PeerSettings(_Section, frozen=True):
    """Where this node may dial: ``host:port`` patterns (fnmatch), so that no job makes it a port scanner."""

    allow: tuple[str, ...] = ()
    connect_timeout_s: Seconds = 60
    silence_timeout_s: Seconds = 300
    # A resumable job that was cut waits so long for its peers to come back, and may be cut so often.
    reconnect_timeout_s: Seconds = 3600
    max_reconnects: Annotated[int, Meta(ge=0, le=10_000)] = 5
    # The same bucket is begun again so often: who cuts the line may have other inputs for it each time.
    max_repeats: Annotated[int, Meta(ge=0, le=10_000)] = 2


class LimitSettings(_Section, frozen=True):
    """What bounds one caller, one job and the whole node."""

    max_body_bytes: Positive = 4 << 20
    max_running_jobs: Annotated[int, Meta(ge=1, le=1000)] = 16
    # Refusals of submissions that do not verify are receipts too, up to this many per job.
    max_refusals_per_job: Annotated[int, Meta(ge=1, le=1000)] = 16
    # The same per caller and hour, over all jobs: the caller chooses the job ids.
    max_refusals_per_hour: Annotated[int, Meta(ge=1, le=100_000)] = 120
    worker_threads: Annotated[int, Meta(ge=1, le=256)] = 4
    # What one job may hold in memory at once; larger inputs are worked on in buckets on disk.
    memory_bytes: Annotated[int, Meta(ge=16 << 20, le=1 << 50)] = 1 << 30
    cache_bytes: Annotated[int, Meta(ge=0, le=1 << 60)] = 20 << 30
    # Where jobs' heavy calls are done; "ray" needs the extra "cluster", and who runs the cluster sees secrets
    # of the jobs. 0 workers: one per core.
    executor: Literal["inline", "threads", "ray"] = "threads"
    workers: Annotated[int, Meta(ge=0, le=4096)] = 0
    ray_address: str = ""


class EaasSettings(_Section, frozen=True):
    """Encryption as a service, offered by a dataset of kind "service"."""

    enabled: bool = False
    store: str = "eaas-keys.sealed"
    max_items: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    max_keys_per_grant: Annotated[int, Meta(ge=1, le=1000)] = 16


class Ceiling(_Section, frozen=True):
    """The most that this node signs for a dataset, whatever the portal proposes.

    ``purposes`` and ``columns`` may hold "*". ``approval`` "node" parks each proposal until staff runs
    ``python -m compute.node grants approve``.
    """

    operations: tuple[OperationName, ...] = ()
    purposes: tuple[Text, ...] = ("*",)
    columns: tuple[Name, ...] = ("*",)
    max_quota: Positive = 1_000_000
    max_epsilon_micro: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    min_cohort: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    max_days: Annotated[int, Meta(ge=1, le=3650)] = 366
    min_price_credits: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    approval: Literal["portal", "node"] = "portal"


class DatasetSettings(_Section, frozen=True):
    """One dataset: its random id, what the catalogue shows, where its rows are, and the ceiling."""

    id: Hex32
    name: Name
    description: Text = ""
    kind: Literal["table", "service"] = "table"
    source: SourceConfig | None = None
    ceiling: Ceiling = Ceiling()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The declared columns as documents; a service has none."""
        if self.source is None:
            return ()
        return tuple(
            Column(name=column.name, type=column.type, grade=column.grade, description=column.description)
            for column in self.source.columns
        )

    @property
    def schema(self) -> DatasetSchema:
        """What the version's schema hash is the digest of."""
        return DatasetSchema(kind=self.kind, columns=self.columns)


class NodeConfig(_Section, frozen=True):
    """The whole file. ``home`` is where the file lies, not a setting."""

    name: Name
    party: Hex32
    roles: tuple[RoleName, ...] = ("provider",)
    listen: str = "127.0.0.1:8611"
    url: str = ""
    database: str = "node.db"
    results: str = "results"
    work: str = "work"
    cache: str = "cache"
    snapshots: str = "snapshots"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    chain: ChainSettings = ChainSettings()
    portal: PortalSettings = PortalSettings()
    keys: KeySettings = KeySettings()
    peers: PeerSettings = PeerSettings()
    limits: LimitSettings = LimitSettings()
    eaas: EaasSettings = EaasSettings()
    dataset: tuple[DatasetSettings, ...] = ()
    home: Path = Path()

    def path(self, name: str) -> Path:
        """A configured path, resolved against the file's folder."""
        return (self.home / name).resolve()

    @property
    def bind(self) -> tuple[str, int]:
        """``listen`` as host and port."""
        parts = urlsplit("//" + self.listen)
        if parts.hostname is None or parts.port is None:
            raise BadInput(f"listen = {self.listen!r}: write host:port")
        return parts.hostname, parts.port

    def find_dataset(self, dataset: str) -> DatasetSettings | None:
        """The declared dataset with this id."""
        return next((item for item in self.dataset if item.id == dataset), None)


def load(path: Path, environment: Mapping[str, str] = os.environ) -> NodeConfig:
    """Read and check a node's configuration; raises BadInput naming the key that does not fit."""
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path} is not TOML: {error}") from error
    if "home" in raw:
        raise BadInput(f"{path}: home is the folder of this file and cannot be set")
    _override(raw, environment)
    try:
        config = msgspec.convert(raw, type=NodeConfig, strict=True)
    except msgspec.ValidationError as error:
        raise BadInput(f"{path}: {error}") from error
    config = msgspec.structs.replace(config, home=path.resolve().parent)
    _check(config)
    return config


def _check(config: NodeConfig) -> None:
    _ = config.bind
    ids = [item.id for item in config.dataset]
    if len(set(ids)) != len(ids):
        raise BadInput("[[dataset]]: two datasets have the same id")
    for item in config.dataset:
        if (item.kind == "table") != (item.source is not None):
            raise BadInput(f"dataset {item.name!r}: a table has a source, a service has none")
        if item.kind == "service" and set(item.ceiling.operations) - {"eaas"}:
            raise BadInput(f'dataset {item.name!r}: a service allows the operation "eaas" only')
        if item.kind == "table" and "eaas" in item.ceiling.operations:
            raise BadInput(f'dataset {item.name!r}: "eaas" needs a dataset of kind "service"')
        if item.kind == "service" and not config.eaas.enabled:
            raise BadInput(f"dataset {item.name!r} is a service, but [eaas] enabled is false")
        known = {column.name for column in item.columns} | {"*"}
        if unknown := set(item.ceiling.columns) - known:
            raise BadInput(f"dataset {item.name!r}: the ceiling names unknown columns {sorted(unknown)}")


def _override(raw: dict[str, Any], environment: Mapping[str, str]) -> None:
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        table = raw
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise BadInput(f"{name} does not name a setting")
        table[key] = _scalar(text)


def _scalar(text: str) -> Any:
    """A TOML value where the text is one, else the text itself (so that URLs need no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
