"""A file that proves what happened: the portal's audit log and the evidence of receipts, as JSON lines.

    {"type": "entry", …}       one audit entry; each names the digest of the one before
    {"type": "evidence", …}    one evidence bundle (`contracts.evidence`)

`verify` needs no network and no Django: whoever holds the file can check it anywhere. A block hash from a
source of one's own (``trusted``) ties the evidence to the real chain; without it the report says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from compute.errors import BadInput
from compute.sdk.reports import plain
from compute.wire.nesting import refuse_deep
from contracts.errors import BadEvidence
from contracts.evidence_verify import EvidenceReport
from contracts.evidence_verify import verify as verify_evidence

# Must equal market.audit.services: a test there compares.
_DOMAIN = b"liutong/audit/1\n"
_ENTRY_FIELDS = ("sequence", "at_ms", "verb", "actor", "party_id", "subject", "detail", "previous")
_MAX_LINE_BYTES = 8 << 20


class AuditReport(msgspec.Struct, frozen=True):
    """What a file proves. ``problems`` is empty if everything in it holds."""

    entries: int
    first_sequence: int
    last_digest: str
    evidence: list[dict[str, Any]]
    problems: list[str]

    @property
    def ok(self) -> bool:
        """Nothing broken was found, and there was something to check."""
        return not self.problems and (self.entries > 0 or bool(self.evidence))


def verify(path: Path, *, trusted_block_hashes: Iterable[bytes] = ()) -> AuditReport:
    """Check a file line by line; raises BadInput if it is no such file.

    A single JSON object that is an evidence bundle is accepted too.
    """
    trusted = tuple(trusted_block_hashes)
    entries, first, previous = 0, 0, ""
    proven: list[dict[str, Any]] = []
    problems: list[str] = []
    for number, line in _lines(path):
        kind = line.pop("type", "evidence" if "receipt" in line else "entry" if "verb" in line else "")
        if kind == "entry":
            broken = _broken_entry(line, previous)
            if broken:
                problems.append(f"line {number}: entry {line.get('sequence')}: {broken}")
            entries += 1
            first = first or int(line.get("sequence", 0))
            previous = str(line.get("digest", ""))
        elif kind == "evidence":
            try:
                proven.append(_check(line.get("bundle", line), trusted))
            except BadEvidence as error:
                problems.append(f"line {number}: evidence: {error}")
        else:
            raise BadInput(f"{path}, line {number}: neither an audit entry nor evidence")
    return AuditReport(entries, first, previous, proven, problems)


def _check(bundle: dict[str, Any], trusted: tuple[bytes, ...]) -> dict[str, Any]:
    if not trusted:
        return _fields(verify_evidence(bundle))
    failure: BadEvidence | None = None
    for block_hash in trusted:
        try:
            return _fields(verify_evidence(bundle, trusted_block_hash=block_hash))
        except BadEvidence as error:
            failure = error
    raise failure or BadEvidence("no trusted block hash was given")


def _fields(report: EvidenceReport) -> dict[str, Any]:
    fields: dict[str, Any] = plain(report)
    return fields


def _broken_entry(entry: dict[str, Any], previous: str) -> str:
    if set(entry) != {*_ENTRY_FIELDS, "digest"}:
        return "its fields are not those of an audit entry"
    if previous and entry["previous"] != previous:
        return "does not follow from the entry before"
    body = msgspec.json.encode([entry[name] for name in _ENTRY_FIELDS], order="sorted")
    if entry["digest"] != "0x" + hashlib.sha256(_DOMAIN + body).hexdigest():
        return "was changed: its digest does not fit its content"
    return ""


def _lines(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    refuse_deep(data)
    try:  # one bundle, perhaps indented
        whole = msgspec.json.decode(data, type=dict[str, Any])
        yield 1, whole
        return
    except msgspec.MsgspecError:
        pass
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        if len(line) > _MAX_LINE_BYTES:
            raise BadInput(f"{path}, line {number}: longer than {_MAX_LINE_BYTES} bytes")
        try:
            yield number, msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise BadInput(f"{path}, line {number}: not a JSON object: {error}") from error
