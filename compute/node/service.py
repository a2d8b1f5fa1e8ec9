"""One node put together: everything that its HTTP routes and its command line need, in one object."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import compute.protocols.kinds  # noqa: F401 - registers the job kinds
from compute.data.results import ResultStore
from compute.eaas.service import Eaas
from compute.eaas.vault import Vault
from compute.errors import ComputeError
from compute.keys.keystore import KeyStore, read_secret
from compute.keys.sealing import box_public
from compute.keys.signer import NodeSigner
from compute.node.config import NodeConfig
from compute.node.datasets import Datasets
from compute.node.grants import Grants
from compute.node.job_folders import JobFolders
from compute.node.jobs import Jobs
from compute.node.ledger import Connect, Ledger, connect_chain
from compute.node.peers import PeerDesk
from compute.node.receipts import ReceiptSigner
from compute.node.running import Means, Runner
from compute.node.sessions import Sessions
from compute.node.store import Store
from compute.protocols.directory_cache import DirectoryCache
from compute.protocols.executors import InlineExecutor, make_executor
from compute.wire.canonical import to_hex
from compute.wire.channel import MAX_MESSAGE_BYTES
from compute.wire.messages import NodeIdentity
from compute.wire.records import ChannelLimits
from contracts.errors import ContractError

log = logging.getLogger(__name__)

SOFTWARE = "liutong-node/0.1.0"
SIGNING_KEY, SIGNING_KIND = "node-signing", "secp256k1"
BOX_KEY, BOX_KIND = "node-box", "x25519"
NO_HE_KEY = "0x" + "00" * 32
_PUBLISH_RETRY_S = 5.0
_WAITING_THREADS = 16


class Node:
    """An opened node. `start` and `stop` belong to the event loop that serves it; the rest is thread-safe.

    Raises KeyStoreLocked, BadInput or StoreDamaged if its files cannot be used.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        connect: Connect = connect_chain,
        clock: Callable[[], float] = time.time,
        rng: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.config = config
        self.clock = clock
        self._secret = read_secret(config.path(config.keys.passphrase_file))
        self.keys = KeyStore.open(config.path(config.keys.store), self._secret)
        self.signer = NodeSigner(self.keys.get(SIGNING_KEY, SIGNING_KIND))
        self.box_private = self.keys.get(BOX_KEY, BOX_KIND)
        self.store = Store(config.path(config.database))
        self.ledger = Ledger(config, self.store, connect)
        self.datasets = Datasets(config, self.store, self.keys, self.signer, self.ledger.domain)
        self.grants = Grants(config, self.store, self.ledger, self.signer, clock)
        self.sessions = Sessions(self.store, clock)
        # Two pools: heavy steps of jobs must not keep requests and the chain waiting.
        self._compute = ThreadPoolExecutor(config.limits.worker_threads, thread_name_prefix="compute")
        self._waiting = ThreadPoolExecutor(_WAITING_THREADS, thread_name_prefix="wait")
        cache = DirectoryCache(config.path(config.cache), config.limits.cache_bytes)
        self._means = Means(JobFolders(config.path(config.work)), cache, InlineExecutor())
        self.jobs = Jobs(
            config=config,
            store=self.store,
            ledger=self.ledger,
            datasets=self.datasets,
            results=ResultStore(config.path(config.results)),
            folders=self._means.folders,
            sessions=self.sessions,
            receipts=self.receipts,
            signer=self.signer,
            withdrawn=self.grants.withdrawn,
            clock=clock,
        )
        self.desk = PeerDesk(
            config.party,
            self.signer,
            self.ledger.addresses,
            self.jobs.ended_as,
            connect_timeout_s=float(config.peers.connect_timeout_s),
            limits=ChannelLimits(max_buffered_bytes=max(MAX_MESSAGE_BYTES, config.limits.memory_bytes // 8)),
        )
        self.runner = Runner(
            config=config,
            ledger=self.ledger,
            datasets=self.datasets,
            desk=self.desk,
            means=self._means,
            compute=self._compute,
            waiting=self._waiting,
            rng=rng,
            clock=clock,
            withdrawn=self.grants.withdrawn,
            advance=self.jobs.advance,
            begun=self.store.begin_attempt,
            finish=self.jobs.finish,
        )
        self.jobs.attach(self.runner)
        self.eaas = self._eaas() if config.eaas.enabled else None
        self._publisher: asyncio.Task[None] | None = None

    def _eaas(self) -> Eaas:
        settings = self.config.eaas
        vault = Vault(
            self.config.path(settings.store),
            self._secret,
            max_keys_per_grant=settings.max_keys_per_grant,
            clock=self.clock,
            cipher=self.config.keys.cipher,
        )
        return Eaas(vault, max_items=settings.max_items)

    def receipts(self) -> ReceiptSigner:
        """The receipt signer for the ledger contract in use; raises ChainUnreachable if never seen."""
        return ReceiptSigner(self.signer, self.ledger.domain("UsageLedger"), self.config.party)

    def identity(self) -> NodeIdentity:
        """What the node says about itself; only the chain makes it true."""
        try:
            chain_block: int | None = self.ledger.block().number
        except (ContractError, ComputeError):
            chain_block = None
        return NodeIdentity(
            party=self.config.party,
            name=self.config.name,
            address=self.signer.address,
            box_key=to_hex(box_public(self.box_private)),
            he_key_digest=NO_HE_KEY,
            software=SOFTWARE,
            chain_id=self.ledger.known_chain_id(),
            chain_block=chain_block,
        )

    async def start(self) -> None:
        """Take up interrupted jobs or end them, then publish what was never published, in the background.

        Raises ExecutorUnavailable if the executor that is configured cannot be used.
        """
        limits = self.config.limits
        self._means.calls = await self.runner.in_thread(
            make_executor, limits.executor, limits.workers, limits.ray_address
        )
        await self.jobs.recover()
        self._publisher = asyncio.create_task(self._publish())

    async def stop(self) -> None:
        """End running jobs with receipts and close the files."""
        if self._publisher is not None:
            self._publisher.cancel()
        await self.jobs.shut_down()
        self._compute.shutdown(wait=False, cancel_futures=True)
        self._waiting.shutdown(wait=False, cancel_futures=True)
        self._means.calls.close()
        self.ledger.close()
        self.store.close()

    async def _publish(self) -> None:
        while not await self.runner.in_worker(self._publish_once):
            await asyncio.sleep(_PUBLISH_RETRY_S)

    def _publish_once(self) -> bool:
        try:
            # First contact: compares store and chain, and remembers the signing domains.
            self.ledger.chain()
        except (ContractError, ComputeError) as error:
            log.error("the chain cannot be used: %s", error)
            return False
        return self.datasets.publish_missing()
