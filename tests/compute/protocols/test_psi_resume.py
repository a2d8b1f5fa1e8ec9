"""An intersection that was cut goes on from its checkpoints, with the same inputs only."""

from collections.abc import Iterable

import pytest

from compute.errors import DataError, PeerLost, ProtocolAbort
from compute.protocols.local import LocalRun, run_local
from compute.protocols.workspace import MemoryWorkspace
from tests.compute.protocols.interrupted import cut_after
from tests.compute.protocols.jobs import Job
from tests.compute.protocols.psi_people import BOTH, TINY, job, people


def test_a_small_job_has_no_checkpoints_and_leaves_nothing_behind() -> None:
    spaces = {role: MemoryWorkspace() for role in ("left", "right")}
    made = job(range(20), range(20))
    made.storage = {role: {"workspace": space} for role, space in spaces.items()}
    run = made.run()
    assert run.outputs["left"].metrics["buckets"] == 1
    assert [space.names() for space in spaces.values()] == [(), ()]


def attempt(made: Job, spaces: dict[str, MemoryWorkspace], resumed: int, cut: int | None = None) -> LocalRun:
    made.storage = {role: TINY | {"workspace": space, "resumed": resumed} for role, space in spaces.items()}
    steps = {role: made.steps(role) for role in made.roles}
    if cut is not None:
        # In one thread the sender runs ahead, so the receiver is cut: the one with fewer keys if both
        # get the result, else left.
        receiver = min(made.roles, key=lambda role: made.tables[role].num_rows)
        cut_role = receiver if len(made.params.output_to) == 2 else "left"
        steps[cut_role] = cut_after(steps[cut_role], cut)
    return run_local(steps, binding=made.binding)


@pytest.mark.parametrize("protocol", ["ecdh", "rr22"])
def test_a_job_goes_on_from_each_checkpoint_with_the_same_result(protocol: str) -> None:
    params = BOTH | {"protocol": protocol, "label_columns": {"left": ["age"], "right": ["name"]}}
    expected = job(range(80), range(30, 100), TINY, **params).result()
    whole = attempt(job(range(80), range(30, 100), **params), _spaces(), 0)
    waves = -(-whole.outputs["left"].metrics["buckets"] // 2)
    assert waves >= 4
    sent = []
    for index in (1, 2, waves - 1, waves):
        spaces = _spaces()
        made = job(range(80), range(30, 100), **params)
        with pytest.raises(PeerLost):
            attempt(made, spaces, 0, cut=index)
        # A job that goes on has new randomness, as a process that was started again has.
        made.seed = f"attempt after {index}"
        run = attempt(made, spaces, index)
        assert made.open(run) == expected
        assert run.outputs["left"].units == 80
        sent.append(run.bytes_sent("left") + run.bytes_sent("right"))
    assert sent == sorted(sent, reverse=True), "finished buckets are not compared again"
    assert len(set(sent)) == len(sent)


def _spaces() -> dict[str, MemoryWorkspace]:
    return {role: MemoryWorkspace() for role in ("left", "right")}


def test_a_job_that_was_wound_back_by_one_checkpoint_gives_the_same_result() -> None:
    spaces = _spaces()
    made = job(range(80), range(30, 100), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=2)
    made.seed = "again"
    assert made.open(attempt(made, spaces, 1))["count"] == 50


@pytest.mark.parametrize("changed", ["left", "right"])
@pytest.mark.parametrize(
    "rows", [range(79), [*range(78), 81], [1, 0, *range(2, 80)]], ids=["fewer", "other", "order"]
)
def test_another_input_on_resume_is_refused(changed: str, rows: Iterable[int]) -> None:
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    made.tables[changed] = people(rows)
    with pytest.raises(ProtocolAbort, match="than when the job began"):
        attempt(made, spaces, 1)


def test_a_peer_that_kept_nothing_of_its_input_is_refused() -> None:
    """Its commitment has another salt: nobody can tell whether the input is the same."""
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    forgetful = _spaces()
    with pytest.raises(PeerLost):
        attempt(job(range(80), range(80), protocol="ecdh"), forgetful, 0, cut=1)
    made.seed = "a"
    other = job(range(80), range(80), protocol="ecdh")
    other.seed = "b"
    third = _spaces()
    with pytest.raises(PeerLost):
        attempt(other, third, 0, cut=1)
    with pytest.raises(ProtocolAbort, match="the input of"):
        attempt(made, {"left": spaces["left"], "right": third["right"]}, 1)


def test_other_memory_on_resume_is_refused() -> None:
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    made.storage = {role: {"workspace": space, "resumed": 1} for role, space in spaces.items()}
    with pytest.raises(ProtocolAbort, match="memory or processors changed"):
        made.run()


def test_a_damaged_workspace_is_told() -> None:
    spaces = _spaces()
    made = job(range(80), range(80), protocol="ecdh")
    with pytest.raises(PeerLost):
        attempt(made, spaces, 0, cut=1)
    spaces["left"].write("psi.wave.0", spaces["left"].read("psi.wave.0")[:-5])
    with pytest.raises(DataError, match="damaged"):
        attempt(made, spaces, 1)
