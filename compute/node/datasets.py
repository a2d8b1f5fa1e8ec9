"""The node's datasets: publishing versions, and reading exactly what was published.

A version is published on purpose: the first when the node first starts, each further one by
``python -m compute.node publish``. A source that changes without that is refused at the next job
("dataset.content"), for the grant is for the version the consumer saw. What a job reads is read once,
checked, and used from that same table; or it is the verified snapshot of an earlier read, as long as the
source's content is the same (`compute.data.snapshot`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
from collections.abc import Callable

import msgspec
import pyarrow as pa

from compute.data.commitment import SALT_KEY_BYTES, Commitment
from compute.data.snapshot import Snapshots, commit_source
from compute.data.source import Source
from compute.errors import BadInput, ComputeError, Refused
from compute.keys.keystore import KeyStore
from compute.keys.signer import NodeSigner
from compute.node.config import DatasetSettings, NodeConfig
from compute.node.store import Store
from compute.wire import canonical, structs
from compute.wire.canonical import from_hex, to_hex
from compute.wire.messages import DatasetManifest
from contracts.eip712 import Domain
from contracts.errors import ContractError

log = logging.getLogger(__name__)

_SALT_KIND = "dataset-salt"
_SECRET_KIND = "dataset-secret"  # noqa: S105 - a kind
_SECRET_BYTES = 32
_SERVICE = b"liutong/commitment/service/v1\x00"


class Datasets:
    """Published versions and their rows. Blocking and thread-safe: call from worker threads."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        keys: KeyStore,
        signer: NodeSigner,
        domain: Callable[[str], Domain],
    ) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._signer = signer
        self._domain = domain
        self._publishing = threading.Lock()
        self._making = threading.Lock()
        self._snapshots = Snapshots(config.path(config.snapshots))

    def published(self, dataset: str) -> DatasetManifest | None:
        """The newest published version; None if there is none or the dataset is not configured (any more)."""
        if self._config.find_dataset(dataset) is None:
            return None
        rows = self._store.rows(
            "SELECT manifest FROM versions WHERE dataset = ? ORDER BY version DESC LIMIT 1", dataset
        )
        return msgspec.json.decode(rows[0]["manifest"], type=DatasetManifest) if rows else None

    def manifests(self) -> list[DatasetManifest]:
        """The newest version of each configured dataset, in the order of the configuration."""
        found = (self.published(settings.id) for settings in self._config.dataset)
        return [manifest for manifest in found if manifest is not None]

    def publish(self, dataset: str) -> DatasetManifest:
        """Publish what the source holds now as the next version; the newest one if nothing changed.

        Raises BadInput for an unknown dataset, DataError if the source cannot be read, ChainUnreachable if
        the node has never seen the chain it signs for.
        """
        settings = self._config.find_dataset(dataset)
        if settings is None:
            raise BadInput(f"node.toml declares no dataset {dataset}")
        with self._publishing:
            latest = self.published(dataset)
            if latest is not None and self._unchanged(settings, latest):
                return latest
            version = latest.version + 1 if latest else 1
            commitment = self._commit(settings, version)
            unsigned = DatasetManifest(
                dataset=settings.id,
                provider=self._config.party,
                version=version,
                kind=settings.kind,
                name=settings.name,
                description=settings.description,
                columns=settings.columns,
                row_count=commitment.row_count,
                commitment=to_hex(commitment.root),
                schema_hash=to_hex(canonical.digest(settings.schema)),
                signature="0x" + "00" * 65,
                operations=settings.ceiling.operations,
            )
            signature = self._signer.sign(self._domain("DatasetRegistry"), structs.dataset_version(unsigned))
            manifest = msgspec.structs.replace(unsigned, signature=to_hex(signature))
            with self._store.transaction() as db:
                db.execute(
                    "INSERT INTO versions VALUES (?, ?, ?)",
                    (settings.id, version, msgspec.json.encode(manifest)),
                )
            log.info("published %s version %d with %d rows", settings.name, version, manifest.row_count)
            return manifest

    def publish_missing(self) -> bool:
        """Publish version 1 of every dataset that has none; False if some could not be (the log says why)."""
        complete = True
        for settings in self._config.dataset:
            if self.published(settings.id) is None:
                try:
                    self.publish(settings.id)
                except (ComputeError, ContractError) as error:
                    log.error("dataset %s cannot be published: %s", settings.name, error)
                    complete = False
        return complete

    def load(self, settings: DatasetSettings, commitment: str) -> pa.Table:
        """All rows of the published version with this commitment.

        Raises Refused ("dataset.content") if the source no longer holds them, DataError if it cannot be read.
        """
        manifest = self.published(settings.id)
        if manifest is None or manifest.commitment != commitment:
            raise Refused(
                "dataset.version", "the version was replaced meanwhile", remedy="pin the newest one"
            )
        salt = self._salt(settings.id, manifest.version)
        table = self._snapshots.load(_word(settings.id), self._source(settings), salt, from_hex(commitment))
        if table is None:
            raise Refused(
                "dataset.content",
                "the dataset's source no longer holds the rows that were registered",
                remedy="the provider restores them, or publishes and registers a new version",
            )
        return table

    def version_secret(self, dataset: str, commitment: str) -> bytes:
        """32 random bytes of this version, the same in every job; made when they are first asked for.

        Raises Refused ("dataset.version") if the version is not the newest any more.
        """
        manifest = self.published(dataset)
        if manifest is None or manifest.commitment != commitment:
            raise Refused(
                "dataset.version", "the version was replaced meanwhile", remedy="pin the newest one"
            )
        return self._own_secret(f"secret:{dataset}:{manifest.version}", _SECRET_KIND, _SECRET_BYTES)

    def _unchanged(self, settings: DatasetSettings, latest: DatasetManifest) -> bool:
        if to_hex(canonical.digest(settings.schema)) != latest.schema_hash:
            return False
        if settings.kind == "service":
            return True
        salt = self._salt(settings.id, latest.version)
        return hmac.compare_digest(
            commit_source(self._source(settings), salt).root, from_hex(latest.commitment)
        )

    def _commit(self, settings: DatasetSettings, version: int) -> Commitment:
        if settings.kind == "service":
            described = canonical.digest(settings.schema)
            return Commitment(hashlib.sha256(_SERVICE + from_hex(settings.id) + described).digest(), 0)
        # A publication that was cut short left its salt behind: it is as good as a new one.
        salt = self._own_secret(_salt_name(settings.id, version), _SALT_KIND, SALT_KEY_BYTES)
        return self._snapshots.record(_word(settings.id), self._source(settings), salt)[0]

    def _own_secret(self, name: str, kind: str, length: int) -> bytes:
        """The secret under this name; a random one is made if there is none."""
        with self._making:
            if not any(entry.name == name for entry in self._keys.names()):
                try:
                    self._keys.put(name, os.urandom(length), kind)
                except BadInput:
                    # Another process (the command line) was faster.
                    log.info("%s was made meanwhile", name)
            return self._keys.get(name, kind)

    def _salt(self, dataset: str, version: int) -> bytes:
        return self._keys.get(_salt_name(dataset, version), _SALT_KIND)

    def _source(self, settings: DatasetSettings) -> Source:
        if settings.source is None:
            raise BadInput(f"{settings.name} is a service: it has no rows")
        return Source(settings.source, self._config.home)


def _salt_name(dataset: str, version: int) -> str:
    # A new salt per version: equal rows of two versions must not show as equal digests.
    return f"salt:{dataset}:{version}"


def _word(dataset: str) -> str:
    return dataset.removeprefix("0x")
