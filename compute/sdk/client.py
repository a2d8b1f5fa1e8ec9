"""The client of a market: everything a consumer, and most of what a provider's program, does by API key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import msgspec

from compute.errors import BadInput
from compute.keys.keystore import read_secret
from compute.protocols.quote import Quote, quote
from compute.sdk import questions
from compute.sdk.chain_view import ChainView
from compute.sdk.encryption import Encryption
from compute.sdk.grants import Grants
from compute.sdk.identity import Identity
from compute.sdk.jobs import JobResult, Jobs, KnownJobs
from compute.sdk.objects import Dataset, Grant, Invoice, Offer, Receipt, Whoami
from compute.sdk.portal import Portal
from compute.sdk.questions import AnyGrant, Names, Question
from compute.sdk.reports import plain
from compute.sdk.workspace import Workspace

DEFAULT_CACHE_BYTES = 4 << 30


class Liutong:
    """One party's view of one market.

        client = Liutong("http://127.0.0.1:8600", api_key, "research.keys", passphrase_file="passphrase")
        client.jobs.run("psi", purpose="study A-17", grants={"left": g1, "right": g2}, params={...})

    Without a key file the catalogue, grants, receipts and audit work; ordering jobs does not. ``workspace``
    (default: beside the key file) keeps what is needed to open results later, and under ``cache`` at most
    ``cache_bytes`` of what lookups may use again. ``chain_rpc`` and ``address_book`` pin the chain; left out,
    the portal's word is taken for them.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        key_file: str | Path | None = None,
        *,
        passphrase: bytes | None = None,
        passphrase_file: str | Path | None = None,
        workspace: str | Path | None = None,
        chain_rpc: str | None = None,
        address_book: str | None = None,
        timeout_s: float = 30.0,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.portal = Portal(url, api_key, timeout_s=timeout_s, transport=transport)
        self.chain = ChainView(self.portal, chain_rpc, address_book)
        self.grants = Grants(self.portal)
        self._key_file = Path(key_file) if key_file else None
        self._passphrase = passphrase
        self._passphrase_file = Path(passphrase_file) if passphrase_file else None
        self._workspace = Path(workspace) if workspace else None
        self._cache_bytes = cache_bytes

    def close(self) -> None:
        """Close the connections."""
        self.portal.close()

    def __enter__(self) -> Liutong:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @cached_property
    def identity(self) -> Identity:
        """The open key file; raises BadInput without one, KeyStoreLocked if it does not open."""
        if self._key_file is None:
            raise BadInput("this needs the party's key file: give key_file (see `liutong keys new`)")
        secret = self._passphrase
        if secret is None:
            if self._passphrase_file is None:
                raise BadInput("the key file needs its passphrase: give passphrase or passphrase_file")
            secret = read_secret(self._passphrase_file)
        return Identity.open(self._key_file, secret)

    @cached_property
    def known_jobs(self) -> KnownJobs:
        """The party's jobs as the portal tells them, without a key file: list, get, events, cancel."""
        return KnownJobs(self.portal)

    @cached_property
    def jobs(self) -> Jobs:
        """Ordering jobs and opening results."""
        workspace = self._open_workspace()
        cache = workspace.cache(self._cache_bytes)
        return Jobs(self.portal, self.grants, self.chain, self.identity, workspace, cache)

    @cached_property
    def eaas(self) -> Encryption:
        """Encryption as a service."""
        return Encryption(self.jobs, self.identity, self.chain)

    def ask(self, question: Question, *, purpose: str | None = None, **options: Any) -> JobResult:
        """Run a question; ``purpose`` is that of its grant if left out, ``options`` as for `jobs.run`."""
        if purpose is None:
            first = next(iter(question.grants.values()))
            purpose = first.purpose if isinstance(first, Grant) else self.grants.get(first).purpose
        return self.jobs.run(
            question.kind, purpose=purpose, grants=question.grants, params=question.params, **options
        )

    def psi(
        self, left: AnyGrant, right: AnyGrant, *, on: Names | Mapping[str, Names], **params: Any
    ) -> JobResult:
        """Which keys two datasets share: the result of job kind psi; ``params`` as in its README."""
        return self.ask(questions.intersection(left, right, on=on, **params))

    def lookup(
        self,
        grant: AnyGrant,
        keywords: Sequence[str | Sequence[str]],
        *,
        key: Names,
        columns: Names,
        **params: Any,
    ) -> list[list[dict[str, Any]]]:
        """Per keyword its records, none if it is absent. Nobody else learns what was looked for."""
        result = self.ask(questions.lookup(grant, keywords, key=key, columns=columns, **params))
        return [answer["records"] for answer in result.value["answers"]]

    def member(
        self, grant: AnyGrant, keywords: Sequence[str | Sequence[str]], *, key: Names, **params: Any
    ) -> list[bool]:
        """Per keyword whether it occurs. Nobody else learns what was looked for."""
        answers: list[bool] = self.ask(questions.membership(grant, keywords, key=key, **params)).value[
            "answers"
        ]
        return answers

    def whoami(self) -> Whoami:
        """What the portal takes the API key for."""
        return self.portal.get("whoami", Whoami)

    def datasets(self, query: str | None = None, **filters: Any) -> list[Dataset]:
        """The catalogue; filters ``provider``, ``kind``, ``operation``."""
        return [*self.portal.pages("datasets", Dataset, q=query, **filters)]

    def offers(self, query: str | None = None, *, dataset: str | None = None) -> list[Offer]:
        """Open offers."""
        return [*self.portal.pages("offers", Offer, q=query, dataset=dataset)]

    def publish_offer(self, dataset: str, *, title: str, **terms: Any) -> Offer:
        """Provider: open an offer; ``terms`` as in the API's `POST offers`."""
        return self.portal.post("offers", {"dataset": dataset, "title": title, **terms}, Offer)

    def receipts(self, **filters: Any) -> list[Receipt]:
        """Receipts of the party's jobs and grants; filters ``job``, ``grant``, ``node``, ``outcome``."""
        return [*self.portal.pages("receipts", Receipt, **filters)]

    def evidence(self, receipt: str) -> dict[str, Any]:
        """The evidence bundle of an anchored receipt: check it with `verify_receipt` or off line."""
        return self.portal.get(f"receipts/{receipt}/evidence", dict[str, Any])

    def verify_receipt(self, receipt: str) -> dict[str, Any]:
        """Fetch a receipt's evidence and check it against the chain itself; raises BadEvidence."""
        from contracts import evidence

        bundle = self.evidence(receipt)
        block = self.chain.chain.block(evidence.verify(bundle).block_number)
        report = evidence.verify(
            bundle, trusted_block_hash=block.hash, trusted_address_book=self.chain.chain.address_book
        )
        fields: dict[str, Any] = plain(report)
        return fields

    def quote(self, kind: str, sizes: Mapping[str, int], **options: Any) -> Quote:
        """Predict time, bytes and price of a job from sizes alone; nothing is asked of anybody.

        Options as in `compute.protocols.quote.quote`: params, network, prices, calibration, cores, backend.
        """
        return quote(kind, sizes, **options)

    def invoices(self, period: str | None = None) -> list[Invoice]:
        """What committed receipts cost."""
        return [*self.portal.pages("invoices", Invoice, period=period)]

    def audit_lines(self, after: int = 0) -> Iterator[bytes]:
        """Regulator: the audit log, then the evidence of each anchored receipt, as lines of a file."""
        log = self.portal.download("audit/export", after=after) or b""
        for line in log.splitlines():
            entry = msgspec.json.decode(line, type=dict[str, Any])
            yield msgspec.json.encode({"type": "entry", **entry})
        for receipt in self.receipts():
            if receipt.state == "anchored":
                yield msgspec.json.encode({"type": "evidence", "bundle": self.evidence(receipt.digest)})

    def _open_workspace(self) -> Workspace:
        if self._workspace is None:
            if self._key_file is None:
                raise BadInput("this needs the party's key file: give key_file (see `liutong keys new`)")
            self._workspace = self._key_file.with_suffix(".jobs")
        return Workspace(self._workspace, self.identity)
