"""HTTP to the portal's REST API: typed answers, typed errors, safe repetition of writes. Synchronous."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from compute.errors import BadInput
from compute.sdk.errors import BadPortalAnswer, PortalRefused, PortalUnreachable
from compute.wire.messages import Problem
from compute.wire.nesting import refuse_deep

T = TypeVar("T")

_ATTEMPTS = 6
_FIRST_PAUSE_S = 0.25
_LATER = (429, 502, 503, 504)
_PAGE_SIZE = 200
MAX_ANSWER_BYTES = 256 << 20


class Portal:
    """One API key's view of one portal. Thread-safe. Redirects and environment proxies are not followed.

    A request that gets no answer is repeated a few times with growing pauses; a write keeps its
    Idempotency-Key through that, so the portal does it once.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout_s: float = 30.0,
        attempts: int = _ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise BadInput(f"{url!r} is not the http(s) address of a portal")
        if not api_key.startswith("lt_"):
            raise BadInput("an API key begins with lt_")
        self._attempts = attempts
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/api/v1/",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, answer: type[T], **parameters: Any) -> T:
        """One object."""
        return _decode(self._send("GET", path, parameters=parameters), answer)

    def pages(self, path: str, item: type[T], **parameters: Any) -> Iterator[T]:
        """Every object of a list, page by page."""
        page = 1
        while True:
            response = self._send(
                "GET", path, parameters={**parameters, "page": page, "page_size": _PAGE_SIZE}
            )
            envelope = _decode(response, dict[str, Any])
            for entry in envelope.get("results", []):
                yield _convert(entry, item)
            if not envelope.get("next"):
                return
            page += 1

    def post(self, path: str, body: Mapping[str, Any] | None, answer: type[T], *, key: str = "") -> T:
        """A write. ``key`` is its Idempotency-Key; without one it gets a random one."""
        return _decode(self._send("POST", path, body=body or {}, key=key or secrets.token_hex(16)), answer)

    def download(self, path: str, **parameters: Any) -> bytes | None:
        """Raw bytes, or None if there are none (yet)."""
        try:
            return self._send("GET", path, parameters=parameters).content
        except PortalRefused as error:
            if error.problem.status == 404:
                return None
            raise

    def _send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> httpx.Response:
        query = {name: value for name, value in (parameters or {}).items() if value is not None}
        headers = {"Idempotency-Key": key} if key else {}
        pause_s = _FIRST_PAUSE_S
        for attempt in range(1, self._attempts + 1):
            try:
                if body is None:
                    response = self._http.request(method, path, params=query, headers=headers)
                else:
                    response = self._http.request(method, path, json=body, headers=headers)
                if response.is_success:
                    return response
                problem = _problem(response)
                if response.status_code not in _LATER:
                    raise PortalRefused(problem)
                failure = PortalUnreachable(problem.detail or problem.title, code=problem.code)
            except httpx.HTTPError as error:
                failure = PortalUnreachable(f"no answer from the portal at {self._http.base_url}: {error}")
            if attempt == self._attempts:
                raise failure
            time.sleep(pause_s)
            pause_s *= 2
        raise AssertionError  # pragma: no cover - the loop returns or raises


def _problem(response: httpx.Response) -> Problem:
    try:
        refuse_deep(response.content)
        fields = msgspec.json.decode(response.content, type=dict[str, Any])
        known = {name: fields[name] for name in Problem.__struct_fields__ if name in fields}
        return msgspec.convert(known, type=Problem)
    except (msgspec.MsgspecError, BadInput):
        return Problem(type="about:blank", title=f"HTTP {response.status_code}", status=response.status_code)


def _decode(response: httpx.Response, answer: type[T]) -> T:
    try:
        refuse_deep(response.content)
        return msgspec.json.decode(response.content, type=answer)
    except (msgspec.MsgspecError, BadInput) as error:
        raise BadPortalAnswer(f"the portal's answer does not fit its API: {error}") from error


def _convert(value: Any, item: type[T]) -> T:
    try:
        return msgspec.convert(value, type=item)
    except msgspec.MsgspecError as error:
        raise BadPortalAnswer(f"the portal's answer does not fit its API: {error}") from error
