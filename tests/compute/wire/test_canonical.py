"""Documents have one spelling, and only documents of the expected type come in."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.errors import BadInput
from compute.wire import canonical
from compute.wire.messages import GrantTerms, JobSpec, Participant, ReceiptDetail, SignedReceipt

HEX = "0x" + "ab" * 32
TERMS = GrantTerms(
    offer="流通",
    purpose='a "quoted" purpose\n',
    operations=("psi", "stats"),
    columns=("id",),
    min_cohort=10,
    price_credits=3,
    salt=HEX,
)
# What JSON can say in a signed document: no floats, integers within 2^53.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53) + 1, (1 << 53) - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def spec(params):
    return JobSpec(
        kind="psi",
        purpose="p",
        consumer=HEX,
        result_key=HEX,
        participants=(Participant(role="left", party=HEX),),
        params=params,
    )


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
def test_the_canonical_form_is_sorted_compact_json_that_comes_back(params):
    """Python's own encoder, told to sort and to waste no space, agrees byte for byte on ASCII."""
    document = spec(params)
    encoded = canonical.encode(document)
    assert canonical.decode(JobSpec, encoded) == document
    plain = json.loads(encoded)
    if encoded.isascii() and b"\\u" not in encoded and b"\x7f" not in encoded:
        assert (
            json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == encoded
        )
    assert canonical.digest(document) == hashlib.sha256(encoded).digest()


def test_the_order_of_keys_does_not_matter():
    assert canonical.digest(spec({"a": 1, "b": {"x": 1, "y": 2}})) == canonical.digest(
        spec({"b": {"y": 2, "x": 1}, "a": 1})
    )


def test_a_known_digest_never_changes():
    """Digests are on chain: whoever changes the form breaks every earlier signature."""
    expected = (
        '{"columns":["id"],"min_cohort":10,"offer":"流通","operations":["psi","stats"],'
        '"price_credits":3,"purpose":"a \\"quoted\\" purpose\\n","salt":"' + HEX + '"}'
    )
    assert canonical.encode(TERMS).decode() == expected


@pytest.mark.parametrize(
    "value", [1.5, 0.0, float("nan"), 1 << 53, -(1 << 53), [1.0], {"x": {"y": 2.5}}], ids=str
)
def test_inexact_numbers_are_not_signed(value):
    with pytest.raises(BadInput):
        canonical.encode(spec({"v": value}))


def change(**fields):
    return json.dumps(msgspec.to_builtins(TERMS) | fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"\xff": 1}',
        change()[:-1],
        change() + b"x",
        change(extra=1),
        change(salt=None),
        change(salt=HEX + "\n"),
        change(salt=HEX.upper()),
        change(salt=HEX[:-1]),
        change(operations=["mining"]),
        change(operations="psi"),
        change(min_cohort=0),
        change(min_cohort="10"),
        change(min_cohort=10.0),
        change(min_cohort=True),
        change(price_credits=-1),
        change(price_credits=1 << 53),
        change(offer=""),
        change(offer="x" * 201),
        change(purpose="x" * 4001),
        b" " * (canonical.MAX_DOCUMENT_BYTES + 1),
        b'{"columns":' + b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_is_no_document_of_the_type_is_refused(data):
    with pytest.raises(BadInput):
        canonical.decode(GrantTerms, data)


@pytest.mark.parametrize("depth", [70, 500, 900, 990, 100_000])
def test_deep_nesting_in_free_parameters_is_refused_and_no_crash(depth):
    bomb = canonical.encode(spec({"v": 0})).replace(b'"v":0', b'"v":' + b"[" * depth + b"]" * depth)
    with pytest.raises(BadInput, match="64 levels"):
        canonical.digest(canonical.decode(JobSpec, bomb))


@pytest.mark.parametrize(
    "text", ["", "0x", HEX[2:], HEX.upper(), HEX + "\n", " " + HEX, HEX + "00", "0x" + "zz" * 32]
)
def test_ids_have_one_spelling(text):
    with pytest.raises(BadInput):
        canonical.from_hex(text)


@given(st.binary(min_size=32, max_size=32))
def test_ids_come_back(value):
    assert canonical.from_hex(canonical.to_hex(value)) == value


def test_documents_cannot_be_changed():
    with pytest.raises(AttributeError):
        TERMS.purpose = "another"  # type: ignore[misc]


def test_a_receipt_survives_document_and_struct():
    """The document's struct is the one that was signed, whichever way it is built."""
    from compute.wire import structs
    from contracts import eip712

    detail = ReceiptDetail(kind="psi", role="left", purpose="p", metrics={"elements": 7})
    struct = eip712.Receipt(
        node=b"n" * 32,
        sequence=3,
        previous=b"p" * 32,
        job=b"j" * 32,
        grant=b"g" * 32,
        spec_hash=b"s" * 32,
        commitment=b"c" * 32,
        transcript=b"t" * 32,
        units=7,
        epsilon_micro=0,
        outcome=int(eip712.Outcome.REFUSED),
        settles=True,
        issued_at=1_800_000_000,
        detail=canonical.digest(detail),
    )
    document = structs.signed_receipt(struct, detail, bytes(65))
    assert document.outcome == "refused"
    again = canonical.decode(SignedReceipt, canonical.encode(document))
    assert structs.receipt(again) == struct
    tampered = msgspec.structs.replace(again, detail=msgspec.structs.replace(detail, purpose="q"))
    assert structs.receipt(tampered) != struct
