"""The first vector of ``vectors/modular.json`` for every operation and backend, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accel import selftest
from accel.limbs import LimbArray
from accel.modulus import Modulus

Run = Callable[..., LimbArray]


def check(name: str, run: Run) -> None:
    """Hold what the facade calls for the operation ``name`` to its known answer."""
    from accel.modular_backends import FixedBasePlan  # the registry is being made while this file is read

    document = selftest.vectors("modular")
    if name == "crt":
        case = document["crt"][0]
        p, q = Modulus(int(case["p"], 16)), Modulus(int(case["q"], 16))
        pq = Modulus(p.value * q.value)
        got = run(p.array(_ints(case["residues_p"])), q.array(_ints(case["residues_q"])), p, q, pq)
        selftest.expect(got.to_ints() == _ints(case["result"]), "modular.crt")
        return
    case = document["valid"][0]
    m = Modulus(int(case["modulus"], 16))
    plain, entered = m.array(_ints(case["values"])), m.array(_ints(case["montgomery"]))
    rows = np.array([list(bytes.fromhex(e)) for e in case["fixed_base"]["exponents"]], dtype=np.uint8)
    base = FixedBasePlan(int(case["fixed_base"]["base"], 16), case["fixed_base"]["exponent_bits"], m)
    secret = int(case["power_secret"]["exponent"], 16)
    calls: dict[str, tuple[Any, ...]] = {
        "enter": (plain, m),
        "leave": (entered, m),
        "multiply": (entered, entered.take(range(len(entered))[::-1]), m),
        "square": (entered, m),
        "power": (entered, _ints(case["power"]["exponents"]), m),
        "power_secret": (entered, secret, case["power_secret"]["exponent_bits"], m),
        "fixed_base_power": (base, rows),
        "multi_power": (entered, [_ints(row) for row in case["multi_power"]["exponents"]], m),
        "product_by_group": (entered, np.array(case["product_by_group"]["groups"], dtype=np.int64), 3, m),
        "inverse": (entered[1:], m),
    }
    expected = {
        "enter": case["montgomery"],
        "leave": case["values"],
        "multiply": case["multiply"]["result"],
        "square": case["square"]["result"],
        "inverse": case["inverse"]["result"],
    }
    key = "fixed_base" if name == "fixed_base_power" else name
    answer = _ints(expected[name] if name in expected else case[key]["result"])
    if name not in ("enter", "leave"):
        answer = [m.to_montgomery(x) for x in answer]
    selftest.expect(run(*calls[name]).to_ints() == answer, f"modular.{name}")


def _ints(values: list[str]) -> list[int]:
    return [int(value, 16) for value in values]
