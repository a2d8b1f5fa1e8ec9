"""A signed request is good once, for one node, within the window, exactly as it was signed."""

from __future__ import annotations

import pytest

from compute.errors import BadInput
from compute.wire.signed_http import (
    WINDOW_S,
    MemoryNonces,
    NotAuthenticated,
    sign_request,
    verify_request,
)
from contracts.errors import ChainUnreachable
from tests.compute.wire.parties import ALICE, BOB, CHARLIE, directory

NOW = 1_800_000_000


def signed(signer=ALICE, party=ALICE.id, audience=BOB.id, now=NOW, **changes):
    request = {"method": "POST", "target": "/v1/jobs?wait=1", "body": b'{"a":1}'} | changes
    headers = sign_request(signer, party=party, audience=audience, now=now, **request)
    return request | {"headers": {name.lower(): value for name, value in headers.items()}}


def verify(request, *, now=NOW, nonces=None, audience=BOB.id, directory=directory):
    nonces = nonces or MemoryNonces()
    return verify_request(audience=audience, directory=directory, nonces=nonces, now=now, **request)


def test_a_signed_request_names_its_sender():
    caller = verify(signed())
    assert (caller.party, caller.address) == (ALICE.id, ALICE.address)


def test_a_request_is_accepted_once():
    nonces, request = MemoryNonces(), signed()
    verify(request, nonces=nonces)
    with pytest.raises(NotAuthenticated):
        verify(request, nonces=nonces)
    verify(signed(), nonces=nonces)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"method": "post"},
        {"target": "/v1/jobs"},
        {"target": "/v1/jobs?wait=2"},
        {"target": "/v1/jobs?wait=1\n"},
        {"target": ""},
        {"body": b'{"a":2}'},
        {"body": b""},
    ],
    ids=str,
)
def test_a_request_changed_on_the_way_is_refused(change):
    with pytest.raises(NotAuthenticated):
        verify(signed() | change)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("liutong-party", CHARLIE.id),
        ("liutong-party", ALICE.id.upper()),
        ("liutong-party", ""),
        ("liutong-timestamp", str(NOW + 1)),
        ("liutong-timestamp", "-1"),
        ("liutong-timestamp", "1e9"),
        ("liutong-timestamp", "9" * 400),
        ("liutong-timestamp", "१८०००००००००"),
        ("liutong-nonce", "00" * 16),
        ("liutong-nonce", "00"),
        ("liutong-signature", "0x" + "00" * 65),
        ("liutong-signature", "0x" + "ff" * 65),
        ("liutong-signature", "0x" + "zz" * 65),
        ("liutong-signature", ""),
    ],
)
def test_a_changed_or_malformed_header_is_refused(header, value):
    request = signed()
    with pytest.raises(NotAuthenticated):
        verify(request | {"headers": request["headers"] | {header: value}})
    without = {name: text for name, text in request["headers"].items() if name != header}
    with pytest.raises(NotAuthenticated):
        verify(request | {"headers": without})


def test_a_request_for_another_node_is_refused():
    with pytest.raises(NotAuthenticated):
        verify(signed(audience=CHARLIE.id))


def test_nobody_signs_for_another_party():
    with pytest.raises(NotAuthenticated):
        verify(signed(signer=CHARLIE, party=ALICE.id))
    with pytest.raises(NotAuthenticated):
        verify(signed(), directory=lambda party: set())


@pytest.mark.parametrize("skew", [-WINDOW_S - 1, WINDOW_S + 1])
def test_outside_the_window_is_refused(skew):
    with pytest.raises(NotAuthenticated):
        verify(signed(), now=NOW + skew)


@pytest.mark.parametrize("skew", [-WINDOW_S, WINDOW_S])
def test_a_repeat_is_refused_to_the_end_of_the_window(skew):
    nonces, request = MemoryNonces(capacity=1), signed()
    verify(request, nonces=nonces)
    with pytest.raises(NotAuthenticated):
        verify(request, now=NOW + skew, nonces=nonces)


def test_a_full_record_of_nonces_refuses_rather_than_forgets():
    nonces, first = MemoryNonces(capacity=2), signed()
    verify(first, nonces=nonces)
    verify(signed(), nonces=nonces)
    with pytest.raises(NotAuthenticated):
        verify(signed(), nonces=nonces)
    with pytest.raises(NotAuthenticated):
        verify(first, nonces=nonces)
    later = NOW + WINDOW_S + 1
    verify(signed(now=later), now=later, nonces=nonces)


def test_a_stranger_cannot_fill_the_record_of_nonces():
    nonces = MemoryNonces(capacity=1)
    for _ in range(3):
        with pytest.raises(NotAuthenticated):
            verify(signed(signer=CHARLIE), nonces=nonces)
    verify(signed(), nonces=nonces)


def test_an_unreachable_chain_is_not_taken_for_a_bad_signature():
    def unreachable(party):
        raise ChainUnreachable("no answer")

    with pytest.raises(ChainUnreachable):
        verify(signed(), directory=unreachable)


@pytest.mark.parametrize("change", [{"method": "get"}, {"target": "v1/jobs"}, {"target": "/v1/a b"}], ids=str)
def test_what_no_verifier_would_take_is_not_signed(change):
    with pytest.raises(BadInput):
        signed(**change)
