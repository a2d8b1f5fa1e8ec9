"""What `protocol="auto"` chooses, and what cannot run."""

from typing import Any

import pytest

from compute.errors import BadInput
from compute.protocols.psi.choice import Asked, choose


def asked(**changes: Any) -> Asked:
    usual: dict[str, Any] = {
        "protocol": "auto",
        "curve": "curve25519",
        "security": "semi_honest",
        "low_communication": False,
        "link_mbit_s": None,
        "plain_output": True,
    }
    return Asked(**(usual | changes))


CHOICES = [
    ((100, 100), {}, "ecdh-curve25519"),
    ((1 << 20, 1 << 20), {}, "rr22"),
    ((5000, 5000), {}, "rr22"),
    ((5000, 5000), {"level": "portable"}, "ecdh-curve25519"),
    ((1 << 20, 1 << 20), {"link_mbit_s": 50}, "rr22-low-communication"),
    ((1 << 20, 1 << 20), {"link_mbit_s": 1000}, "rr22"),
    ((1 << 20, 1 << 20), {"security": "malicious"}, "rr22-malicious"),
    ((100, 100), {"low_communication": True}, "rr22-low-communication"),
    ((1 << 20, 1 << 20), {"curve": "sm2"}, "ecdh-sm2"),
    ((10_000, 10_000_000), {}, "unbalanced-curve25519"),
    ((10_000, 10_000_000), {"plain_output": False}, "rr22"),
    ((10_000_000, 10_000), {}, "rr22"),
    ((1 << 20, 1 << 20), {"supported": ("ecdh",)}, "ecdh-curve25519"),
    ((100, 100), {"protocol": "rr22"}, "rr22"),
]


@pytest.mark.parametrize(("sizes", "changes", "expected"), CHOICES)
def test_auto_chooses_and_says_why(sizes: tuple[int, int], changes: dict[str, Any], expected: str) -> None:
    facts = {"level": "ifma", "supported": ("ecdh", "rr22", "unbalanced"), "bucket_items": 1 << 20}
    facts |= {name: changes[name] for name in facts if name in changes}
    chosen = choose(asked(**{k: v for k, v in changes.items() if k not in facts}), *sizes, **facts)
    assert chosen.name == expected
    assert chosen.reason


def test_what_cannot_run_is_refused() -> None:
    facts: dict[str, Any] = {"level": "ifma", "bucket_items": 100}
    for wrong in ({"protocol": "rr22"}, {"security": "malicious"}, {"low_communication": True}):
        with pytest.raises(BadInput, match="rr22"):
            choose(asked(**wrong), 100, 100, supported=("ecdh",), **facts)
    with pytest.raises(BadInput, match="low communication"):
        choose(
            asked(low_communication=True), 100, 100, level="ifma", bucket_items=1 << 25, supported=("rr22",)
        )
