"""The one door to a compute node's HTTP API, for the portal and for the SDK. Synchronous.

Every request is signed (`compute.wire.signed_http`); every answer is decoded to its document type, so a node
that answers nonsense is `BadNodeAnswer`, not a surprise further in. Redirects and proxies from the
environment are not followed: a node must not be able to send us elsewhere. Answers are read up to
`MAX_ANSWER_BYTES` (results: ``max_result_bytes``).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from coincurve import PrivateKey

from compute.errors import BadInput, ComputeError
from compute.wire import canonical
from compute.wire.binding import eaas_context
from compute.wire.eaas import (
    AddCall,
    DecryptCall,
    EaasAnswer,
    EaasKey,
    EaasKeyRequest,
    EncryptCall,
    MultiplyCall,
    SignCall,
    VerifyCall,
)
from compute.wire.identity import StatementSigner
from compute.wire.messages import (
    BatchOrder,
    DatasetManifest,
    Document,
    GrantProposal,
    Health,
    JobEvent,
    JobStatus,
    JobSubmission,
    NodeIdentity,
    Problem,
    SignedAction,
    SignedBatch,
    SignedGrant,
    SignedReceipt,
    SignedRevocation,
)
from compute.wire.nesting import refuse_deep
from compute.wire.signed_http import sign_request
from contracts import statement
from contracts.eip712 import address_of

T = TypeVar("T")

PORTAL_PARTY = "0x" + "00" * 32
MAX_ANSWER_BYTES = 64 << 20
_PENDING = 202
_NOT_FOUND = 404
_UNAVAILABLE = (429, 502, 503, 504)


class NodeUnreachable(ComputeError):
    """No answer from the node, or one that says "later": nothing happened there, try again."""

    code = "node.unreachable"


class NodeRefused(ComputeError):
    """The node answered with a problem. ``problem`` holds its code, rule, detail and remedy."""

    code = "node.refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title, code=problem.code, rule=problem.rule)
        self.problem = problem


class BadNodeAnswer(ComputeError):
    """The node answered something that is not what its API promises."""

    code = "node.bad_answer"


class GrantPending(ComputeError):
    """The node's own staff has to approve the proposal first; ask again later with the same proposal."""

    code = "grant.pending"


class StatementKey:
    """A private key in memory that signs requests: what the portal uses. It has no repr of its own."""

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        self._address = address_of(PrivateKey(private_key).public_key.format(compressed=False))

    @property
    def address(self) -> str:
        """The checksummed address of the key."""
        return self._address

    def sign_statement(self, purpose: str, payload: bytes) -> bytes:
        """See `StatementSigner.sign_statement`."""
        return statement.sign(purpose, payload, self._private_key)


class NodeClient:
    """One node, seen by one caller. ``node`` is the node's party id: requests are good for that node only.

    ``party`` is the caller's party id; the portal's is `PORTAL_PARTY`. ``box_key`` is the node's X25519 key
    as the chain names it; only the encryption service needs it. Thread-safe; close it or use ``with``.
    All methods raise NodeUnreachable, NodeRefused or BadNodeAnswer.
    """

    def __init__(
        self,
        base_url: str,
        node: str,
        signer: StatementSigner,
        party: str = PORTAL_PARTY,
        *,
        box_key: bytes | None = None,
        timeout_s: float = 20.0,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise BadInput(f"{base_url!r} is not the http(s) address of a node")
        self._prefix = parts.path.rstrip("/")
        self._node = node
        self._signer = signer
        self._party = party
        self._box_key = box_key
        self._clock = clock
        self._http = httpx.Client(
            base_url=f"{parts.scheme}://{parts.netloc}",
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            verify=_certificates(),
            transport=transport,
        )

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # What the node is and offers.

    def health(self) -> Health:
        """Whether the node can take jobs."""
        return self._get("/healthz", Health)

    def identity(self) -> NodeIdentity:
        """The node's own claim about itself; only the chain makes it true."""
        return self._get("/v1/identity", NodeIdentity)

    def datasets(self) -> list[DatasetManifest]:
        """The latest published version of each dataset. Portal only."""
        return self._get("/v1/datasets", list[DatasetManifest])

    def freeze(self, dataset: str) -> SignedAction:
        """The owner's signed freeze of its dataset. Portal only."""
        return self._post(f"/v1/datasets/{dataset}/freeze", None, SignedAction)

    def unfreeze(self, dataset: str) -> SignedAction:
        """The owner's signed unfreeze of its dataset. Portal only."""
        return self._post(f"/v1/datasets/{dataset}/unfreeze", None, SignedAction)

    # Grants.

    def sign_grant(self, proposal: GrantProposal) -> SignedGrant:
        """Have a proposal signed; raises GrantPending if staff decides. Portal only. Repeatable."""
        response = self._send("POST", "/v1/grants/sign", canonical.encode(proposal))
        if response.status_code == _PENDING:
            raise GrantPending("the provider's own staff must approve this grant at the node")
        return _decode(response, SignedGrant)

    def revoke_grant(self, grant: str) -> SignedRevocation:
        """The provider's signed revocation. Portal only. Repeatable."""
        return self._post(f"/v1/grants/{grant}/revoke", None, SignedRevocation)

    # Jobs.

    def submit(self, submission: JobSubmission) -> JobStatus:
        """Start the node's part of a job; a refusal is a status, with a receipt. Repeatable."""
        return self._post("/v1/jobs", submission, JobStatus)

    def job(self, job: str) -> JobStatus:
        """The node's part of a job."""
        return self._get(f"/v1/jobs/{job}", JobStatus)

    def events(self, job: str, after: int = 0) -> list[JobEvent]:
        """The timeline after a sequence number."""
        return self._get(f"/v1/jobs/{job}/events?after={after}", list[JobEvent])

    def cancel(self, job: str) -> JobStatus:
        """End the job; a final job stays as it is."""
        return self._post(f"/v1/jobs/{job}/cancel", None, JobStatus)

    def result(self, job: str, *, max_result_bytes: int = 1 << 30) -> bytes | None:
        """The payload sealed to the consumer; None while there is none."""
        try:
            return self._send("GET", f"/v1/jobs/{job}/result", limit=max_result_bytes).content
        except NodeRefused as error:
            if error.problem.status == _NOT_FOUND:
                return None
            raise

    # Receipts.

    def receipts(self, after: int = 0, limit: int = 100) -> list[SignedReceipt]:
        """Receipts by sequence. Portal and regulator."""
        return self._get(f"/v1/receipts?after={after}&limit={limit}", list[SignedReceipt])

    def batch(self, after: int, limit: int = 128) -> SignedBatch | None:
        """A signed batch of the receipts that follow ``after``; None if there are none. Portal only."""
        try:
            return self._post("/v1/batches", BatchOrder(after=after, limit=limit), SignedBatch)
        except NodeRefused as error:
            if error.problem.code == "receipts.none":
                return None
            raise

    # Encryption as a service, within a job of kind "eaas". Consumer only.

    def eaas_create_key(self, job: str, request: EaasKeyRequest) -> EaasKey:
        """Make a key in the node's sealed store."""
        return self._sealed(job, "keys", canonical.encode(request), EaasKey)

    def eaas_keys(self, job: str) -> list[EaasKey]:
        """The keys of this job's grant. Not metered."""
        return self._sealed(job, "list", b"", list[EaasKey])

    def eaas_encrypt(self, job: str, call: EncryptCall) -> EaasAnswer:
        """Encrypt values (Paillier) or bytes (SM2, SM4)."""
        return self._eaas(job, "encrypt", call)

    def eaas_decrypt(self, job: str, call: DecryptCall) -> EaasAnswer:
        """Decrypt ciphertexts made under the key."""
        return self._eaas(job, "decrypt", call)

    def eaas_add(self, job: str, call: AddCall) -> EaasAnswer:
        """Add Paillier ciphertexts pair by pair."""
        return self._eaas(job, "add", call)

    def eaas_multiply(self, job: str, call: MultiplyCall) -> EaasAnswer:
        """Multiply Paillier ciphertexts by whole numbers pair by pair."""
        return self._eaas(job, "multiply", call)

    def eaas_sign(self, job: str, call: SignCall) -> EaasAnswer:
        """Sign messages with SM2."""
        return self._eaas(job, "sign", call)

    def eaas_verify(self, job: str, call: VerifyCall) -> EaasAnswer:
        """Verify SM2 signatures."""
        return self._eaas(job, "verify", call)

    def eaas_close(self, job: str) -> JobStatus:
        """End the session; the receipt charges the calls made."""
        return self._post(f"/v1/eaas/{job}/close", None, JobStatus)

    def _eaas(self, job: str, operation: str, call: Document) -> EaasAnswer:
        return self._sealed(job, operation, canonical.encode(call), EaasAnswer)

    def _sealed(self, job: str, operation: str, body: bytes, answer: type[T]) -> T:
        """A call that whoever stands between, or stands in for the node, can neither read nor answer."""
        if self._box_key is None:
            raise BadInput("calls to the encryption service need the node's box key, from the chain")
        # Only who calls a service needs keys at hand: the portal, which shares this client, loads none.
        from compute.keys import sealed_call

        context = eaas_context(job, operation)
        sealed, reply = sealed_call.seal_call(self._box_key, body, context)
        response = self._send("POST", f"/v1/eaas/{job}/{operation}", sealed)
        try:
            opened = sealed_call.open_answer(reply, response.content, context)
        except BadInput as error:
            raise BadNodeAnswer("the answer was not given by the node that the chain names") from error
        return _decode(httpx.Response(response.status_code, content=opened), answer)

    def _get(self, path: str, answer: type[T]) -> T:
        return _decode(self._send("GET", path), answer)

    def _post(self, path: str, document: Document | None, answer: type[T]) -> T:
        body = canonical.encode(document) if document is not None else b""
        return _decode(self._send("POST", path, body), answer)

    def _send(
        self, method: Literal["GET", "POST"], path: str, body: bytes = b"", *, limit: int = MAX_ANSWER_BYTES
    ) -> httpx.Response:
        target = self._prefix + path
        headers = sign_request(
            self._signer,
            party=self._party,
            audience=self._node,
            method=method,
            target=target,
            body=body,
            now=int(self._clock()),
        )
        if body:
            is_sealed = target.startswith(f"{self._prefix}/v1/eaas/")
            headers["Content-Type"] = "application/octet-stream" if is_sealed else "application/json"
        try:
            with self._http.stream(method, target, content=body, headers=headers) as response:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        raise BadNodeAnswer(f"the node's answer is longer than {limit} bytes")
        except httpx.HTTPError as error:
            raise NodeUnreachable(f"no answer from the node at {self._http.base_url}: {error}") from error
        whole = httpx.Response(response.status_code, headers={}, content=bytes(content))
        if response.is_success:
            return whole
        raise _failure(whole)


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities of TLS, read once: reading them takes longer than a visit, and workers make many."""
    return httpx.create_ssl_context(trust_env=False)


def _failure(response: httpx.Response) -> ComputeError:
    try:
        refuse_deep(response.content)
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.MsgspecError, BadInput):
        problem = Problem(
            type="about:blank", title=f"HTTP {response.status_code}", status=response.status_code
        )
    if response.status_code in _UNAVAILABLE:
        return NodeUnreachable(problem.detail or problem.title, code=problem.code)
    return NodeRefused(problem)


def _decode(response: httpx.Response, answer: type[T]) -> T:
    try:
        refuse_deep(response.content)
        decoded: Any = msgspec.json.decode(response.content, type=answer, strict=True)
    except (msgspec.MsgspecError, BadInput) as error:
        raise BadNodeAnswer(f"the node's answer does not fit its API: {error}") from error
    return decoded  # type: ignore[no-any-return]
