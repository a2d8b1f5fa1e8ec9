"""A signer signs what it was asked to, verifiable by address, and keeps its key to itself."""

from __future__ import annotations

import pickle

import pytest

from compute.errors import BadInput
from compute.keys.signer import NodeSigner, new_signing_key
from contracts import eip712, statement
from contracts.errors import BadSignature, BadStruct

KEY = bytes(31) + b"\x01"
DOMAIN = eip712.Domain(31337, "0x" + "11" * 20)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_the_address_is_the_known_one_of_key_one():
    """The generator's address, in every Ethereum client's test data."""
    assert NodeSigner(KEY).address == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


def test_a_struct_is_signed_for_one_domain():
    signer, value = NodeSigner(KEY), eip712.Revocation(b"g" * 32)
    signature = signer.sign(DOMAIN, value)
    assert eip712.recover(DOMAIN, value, signature) == signer.address
    elsewhere = eip712.Domain(1, DOMAIN.verifying_contract)
    assert eip712.recover(elsewhere, value, signature) != signer.address


def test_a_statement_is_signed_for_one_purpose():
    signer = NodeSigner(KEY)
    signature = signer.sign_statement("http-request/1", b"payload")
    assert statement.recover("http-request/1", b"payload", signature) == signer.address
    for purpose, payload in [("peer-handshake/1", b"payload"), ("http-request/1", b"payloae")]:
        assert statement.recover(purpose, payload, signature) != signer.address


def test_a_statement_is_never_a_struct():
    """Whatever payload a peer chooses, the digest begins with another version byte than EIP-712's."""
    value = eip712.Revocation(b"g" * 32)
    payload = DOMAIN.separator() + eip712.struct_hash(value)
    assert statement.digest("\x01", payload) != eip712.digest(DOMAIN, value)
    with pytest.raises(BadStruct):
        statement.digest("", payload)
    with pytest.raises(BadStruct):
        statement.digest("a\x00b", payload)


def test_a_malleated_signature_is_refused():
    signer = NodeSigner(KEY)
    signature = signer.sign_statement("p", b"x")
    high_s = (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    mirrored = signature[:32] + high_s + bytes([55 - signature[64]])
    for bad in (mirrored, signature[:-1], signature + b"\x00", signature[:64] + b"\x00", b"", bytes(65)):
        with pytest.raises(BadSignature):
            statement.recover("p", b"x", bad)


@pytest.mark.parametrize(
    "key", [b"", bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32, bytes(31), bytes(33), KEY[1:]]
)
def test_what_is_no_key_is_refused(key):
    with pytest.raises(BadInput):
        NodeSigner(key)


def test_a_signer_shows_and_pickles_nothing():
    key = new_signing_key()
    signer = NodeSigner(key)
    assert key.hex() not in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)


def test_fresh_keys_differ_and_work():
    keys = {new_signing_key() for _ in range(20)}
    assert len(keys) == 20
    assert len({NodeSigner(key).address for key in keys}) == 20
