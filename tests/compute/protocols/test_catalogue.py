"""Every kind is complete, its generated files are current, and a spec that does not fit is refused."""

import functools
import json

import msgspec
import pyarrow as pa
import pytest

from compute.errors import BadInput
from compute.protocols import catalogue
from compute.protocols.kinds import job_kind, job_kinds
from compute.protocols.protocol import JobKind, Session
from compute.wire import canonical
from compute.wire.messages import JobSpec
from contracts.eip712 import Operation
from tests.compute.protocols.jobs import BINDING, CONSUMER, seeded, spec_of

NAMES = [
    "eaas",
    "fl.logistic",
    "pir.keyword",
    "pir.member",
    "pir.row",
    "psi",
    "psi.cardinality",
    "psi.many",
    "psi.sum",
    "stats.horizontal",
    "stats.vertical",
]


def _parties(kind: JobKind) -> tuple[str, ...]:
    keys = kind.example.get("keys", {})
    return tuple(keys) if "p1" in keys else ("p1", "p2")


@functools.cache  # the statistics kinds make a key pair, which takes seconds
def example_spec(name: str) -> JobSpec:
    kind = job_kind(name)
    params, _ = kind.prepare(dict(kind.example), seeded(kind.name))
    roles = [name for role in kind.role_names for name in (_parties(kind) if role == "p*" else (role,))]
    return spec_of(kind.name, params, tuple(roles))


def test_all_kinds_are_registered() -> None:
    assert [kind.name for kind in job_kinds()] == NAMES
    with pytest.raises(BadInput, match=r"known are eaas, fl\.logistic"):
        job_kind("psi.magic")


def test_generated_files_are_current() -> None:
    files = catalogue.files()
    assert len(files) == 10
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m compute.protocols.catalogue: {path}"


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_kind_is_a_valid_signable_job(name: str) -> None:
    kind = job_kind(name)
    spec = example_spec(name)
    assert Operation[kind.operation.upper()]
    assert canonical.decode(JobSpec, canonical.encode(spec)) == spec
    params = kind.parse(spec)
    roles = kind.roles(spec, params)
    for role in roles:
        if role == kind.consumer_role:
            assert kind.units(spec, params, role) == 0
            assert kind.columns(spec, params, role) == ()
        else:
            assert kind.units(spec, params, role) >= 1
            assert len(set(kind.columns(spec, params, role))) == len(kind.columns(spec, params, role))
    if kind.consumer_role:
        assert roles[-1] == kind.consumer_role, "a consumer only dials, so its role comes last"
    entry = catalogue.entry(kind)
    assert set(entry["gives"]) <= set(spec.params)
    assert not set(entry["takes"]) & set(spec.params)


@pytest.mark.parametrize("name", NAMES)
def test_participants_that_do_not_fit_are_refused(name: str) -> None:
    kind = job_kind(name)
    spec = example_spec(name)
    params = kind.parse(spec)
    first, *rest = spec.participants

    def refuse(match: str, participants: tuple[object, ...]) -> None:
        with pytest.raises(BadInput, match=match):
            kind.roles(msgspec.structs.replace(spec, participants=participants), params)

    refuse("needs", ())
    refuse("needs", (msgspec.structs.replace(first, role="stranger"), *rest))
    refuse("needs", (*spec.participants, first))
    refuse("grant", (msgspec.structs.replace(first, grant=None), *rest))
    refuse("commitment", (msgspec.structs.replace(first, commitment=None), *rest))
    if rest:
        refuse("own", (first, *(msgspec.structs.replace(item, party=first.party) for item in rest)))
    if kind.consumer_role:
        consumer = rest[-1]
        refuse(
            "consumer's own", (first, *rest[:-1], msgspec.structs.replace(consumer, party="0x" + "ee" * 32))
        )
        refuse("no grant", (first, *rest[:-1], msgspec.structs.replace(consumer, grant=CONSUMER)))


@pytest.mark.parametrize("name", ["stats.vertical", "stats.horizontal"])
def test_a_consumer_with_the_key_holds_no_role(name: str) -> None:
    kind = job_kind(name)
    spec = example_spec(name)
    for participant in spec.participants:
        with pytest.raises(BadInput, match="may hold no role"):
            kind.roles(msgspec.structs.replace(spec, consumer=participant.party), kind.parse(spec))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "eaas"])
def test_a_data_role_without_a_table_says_so(name: str) -> None:
    kind = job_kind(name)
    spec = example_spec(name)
    session = Session(spec.participants[0].role, spec, kind.parse(spec), BINDING, 0, seeded(1))
    with pytest.raises(BadInput, match="needs a table"):
        next(kind.start(session, None))


def test_a_service_has_no_steps() -> None:
    kind = job_kind("eaas")
    spec = example_spec("eaas")
    with pytest.raises(BadInput, match="session with the node"):
        kind.start(Session("service", spec, kind.parse(spec), BINDING, 0, seeded(1)), pa.table({}))


def test_examples_are_json() -> None:
    assert json.loads((catalogue.ROOT / "catalogue.json").read_text(encoding="utf-8"))
