"""psi.many under little memory: buckets, checkpoints, attempts that go on, and who may not."""

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest

from compute.errors import CancelledElsewhere, DataError, JobCancelled, PeerLost, ProtocolAbort
from compute.protocols.checkpoints import Journal, inputs_of
from compute.protocols.local import run_local
from compute.protocols.protocol import Checkpoint, Message, Progress, Steps
from compute.protocols.psi.many.agreement import Hello, Plan, check_padding
from compute.protocols.psi.many.cost import cost
from compute.protocols.psi.many.programmed import Hint, Turn
from compute.protocols.runner import RunResult, run_resumable
from compute.protocols.workspace import MemoryWorkspace
from compute.wire.channel import MemoryChannel, memory_channels
from tests.compute.protocols.hostile import replacing
from tests.compute.protocols.interrupted import cut_after
from tests.compute.protocols.jobs import Job
from tests.compute.protocols.many_jobs import many, texts

LITTLE = {"memory_bytes": 128 << 10, "parallel": 2}


def tight(sets: list[Iterable[int]], *, spaces: Any = None, **params: Any) -> Job:
    """A job whose parties hold a few dozen items of each peer at once, in two buckets."""
    storage = {}
    for index in range(len(sets)):
        role = f"p{index + 1}"
        storage[role] = LITTLE | ({"workspace": spaces[role]} if spaces else {})
    return many([texts(*one) for one in sets], storage=storage, **params)


CASES = {
    "three": [range(199), range(31, 177), range(20, 153)],
    "small leader": [range(13), range(5, 301), range(97)],
    "four": [range(3, 140), range(7, 150), range(133), range(5, 129)],
    "five": [range(130), range(3, 103), range(1, 120), range(2, 170), range(0, 128, 2)],
    "nothing in common": [range(201), range(150, 300), range(220, 403)],
    "one empty": [range(201), range(0), range(50, 150)],
}


@pytest.mark.parametrize(
    ("protocol", "case"), [*(("ecdh", case) for case in CASES), ("rr22", "three"), ("rr22", "one empty")]
)
def test_buckets_equal_the_plaintext_join_for_any_outputs(protocol: str, case: str) -> None:
    sets = CASES[case]
    roles = [f"p{index + 1}" for index in range(len(sets))]
    common = set.intersection(*map(set, sets))
    outputs = (roles[:1], [roles[-1], roles[0]], roles[1:]) if protocol == "ecdh" else (roles,)
    for output_to in outputs:
        job = tight(sets, output_to=output_to, protocol=protocol)
        run = job.run()
        opened = job.open(run)
        assert opened["count"] == len(common)
        for role, one in zip(roles, sets, strict=True):
            rows = [[f"k{i}"] for i in one if i in common]
            assert opened[role] == ({"columns": [f"id{role}"], "rows": rows} if role in output_to else None)
            assert run.outputs[role].units == len(one)
        buckets = run.outputs["p1"].metrics["buckets"]
        assert buckets >= 8
        items = LITTLE["memory_bytes"] >> 10
        sizes = dict(zip(roles, map(len, sets), strict=True))
        predicted = cost(sizes, output_to, protocol=protocol, most_items=items, parallel=2)
        for role, expected in predicted.bytes_sent.items():
            assert run.bytes_sent(role) == pytest.approx(expected, rel=0.001), role
        done = [each.done for each in run.progress["p2"] if each.phase == "psi.bucket"]
        assert done == list(range(0, buckets + 1, 2))


def test_keys_are_spilled_where_the_table_exceeds_the_memory() -> None:
    spaces = {f"p{i + 1}": MemoryWorkspace() for i in range(3)}
    job = tight([range(700), range(650, 1300), range(640, 690)], spaces=spaces)
    assert job.result()["p1"]["rows"] == [[f"k{i}"] for i in range(650, 690)]
    spilled = {role: any(n.startswith("psi.keys.") for n in space.names()) for role, space in spaces.items()}
    assert spilled == {"p1": True, "p2": True, "p3": False}


def test_how_keys_fall_into_buckets_shows_in_no_length() -> None:
    """Equal counts, other keys, intersections of other sizes: every message has the length it had."""
    shapes, progress = set(), []
    for first, second in ((0, 0), (7, 1000), (90, 50)):
        sets = [range(100), range(first, first + 100), range(second, second + 60)]
        run = tight(sets, output_to=["p2", "p1", "p3"]).run()
        shapes.add(tuple((m.sender, m.receiver, len(m.data)) for m in run.wire))
        progress.append(run.progress)
    assert len(shapes) == 1
    assert progress[0] == progress[1] == progress[2]


# -- attempts that go on


class Kept:
    """A job whose roles keep checkpoints, over several attempts with fresh randomness each."""

    def __init__(self, sets: list[Iterable[int]], **params: Any) -> None:
        self.spaces = {f"p{i + 1}": MemoryWorkspace() for i in range(len(sets))}
        self.job = tight(sets, spaces=self.spaces, **params)
        self.attempts = 0
        self.waves: dict[str, list[int]] = {role: [] for role in self.job.roles}
        self.events = {role: asyncio.Event() for role in self.job.roles}

    def steps(self, role: str, resumed: int, cut: Mapping[str, int]) -> Steps:
        session = self.job.session(role)
        session = dataclasses.replace(session, resumed=resumed)
        steps = self.job.kind.start(session, self.job.tables[role])
        return self._watched(role, steps, cut.get(role, 1 << 30))

    def _watched(self, role: str, steps: Steps, cut: int) -> Steps:
        reply = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(effect, Progress) and effect.phase == "psi.bucket":
                self.waves[role].append(effect.done // 2)
                if effect.done // 2 == cut:
                    raise PeerLost("cut")
            reply = yield effect
            if isinstance(effect, Checkpoint) and effect.index == -cut:
                raise PeerLost("cut")

    async def attempt(
        self, cut: Mapping[str, int] | None = None, change: Mapping[str, Any] | None = None
    ) -> dict[str, RunResult | BaseException]:
        """All roles once, over fresh channels. ``cut`` ends a role before a wave, or (negative) just after a
        checkpoint; ``change`` makes one deviate."""
        self.job.seed = f"attempt {self.attempts}"
        self.attempts += 1
        ends: dict[str, dict[str, MemoryChannel]] = {role: {} for role in self.job.roles}
        for index, one in enumerate(self.job.roles):
            for other in self.job.roles[:index]:
                ends[one][other], ends[other][one] = memory_channels()
        inputs = inputs_of(self.job.spec, self.job.binding)

        def start(role: str) -> Any:
            def steps(resumed: int) -> Steps:
                made = self.steps(role, resumed, cut or {})
                return replacing(made, change[role]) if change and role in change else made

            return steps

        results = await asyncio.gather(
            *(
                run_resumable(
                    start(role),
                    ends[role],
                    journal=Journal(self.spaces[role], role, self.job.binding, inputs),
                    cancel=self.events[role],
                    timeout_s=20,
                )
                for role in self.job.roles
            ),
            return_exceptions=True,
        )
        return dict(zip(self.job.roles, results, strict=True))

    def opened(self, ends: Mapping[str, RunResult | BaseException]) -> Any:
        for end in ends.values():
            if isinstance(end, BaseException):
                raise end
        sealed = {role: end.output.sealed for role, end in ends.items() if end.output.sealed is not None}  # type: ignore[union-attr]
        return self.job.kind.open_result(self.job.consumer(), sealed)


# Four waves of two buckets.
SETS: list[Iterable[int]] = [range(200), range(30, 240), range(20, 190)]


@pytest.mark.parametrize("role", ["p1", "p2", "p3"])
@pytest.mark.parametrize("cut", [0, 1, 3, -1, -2])
async def test_a_party_that_is_lost_comes_back_and_finished_buckets_stay(role: str, cut: int) -> None:
    kept = Kept(SETS, output_to=["p2", "p3"])
    first = await kept.attempt({role: cut})
    assert all(isinstance(end, PeerLost) for end in first.values()), first
    begun = {one: list(waves) for one, waves in kept.waves.items()}
    ends = await kept.attempt()
    opened = kept.opened(ends)
    assert opened["count"] == 160
    assert opened["p2"]["rows"] == opened["p3"]["rows"] == [[f"k{i}"] for i in range(30, 190)]
    for one, waves in kept.waves.items():
        again = waves[len(begun[one]) :]
        assert again[0] >= min(done[-1] for done in begun.values())
        assert again == list(range(again[0], again[-1] + 1))
    for one in ends:
        for other in ends:
            if one != other:
                assert ends[one].peer_transcripts[other] == ends[other].peer_transcripts[one]
    assert [end.output.units for end in ends.values()] == [200, 210, 170]


async def test_any_number_of_cuts_and_other_randomness_in_each() -> None:
    kept = Kept(SETS)
    keys = set()
    for cut in ({"p1": 1}, {"p3": 2}, {"p2": 2}, {"p1": -3}, {}):
        said: list[Hello] = []

        def listen(n: int, message: Message, said: list[Hello] = said) -> list[Message]:
            if isinstance(message, Hello):
                said.append(message)
            return [message]

        ends = await kept.attempt(cut, {"p2": listen})
        keys.add(said[0].key)
    assert kept.opened(ends)["count"] == 160
    assert len(keys) == kept.attempts == 5


@pytest.mark.parametrize("role", ["p1", "p2", "p3"])
@pytest.mark.parametrize(
    "rows", [range(199), [*range(198), 500], [1, 0, *range(2, 200)]], ids=["fewer", "other", "order"]
)
async def test_another_input_on_resume_is_an_abort_at_all(role: str, rows: Iterable[int]) -> None:
    kept = Kept([range(200)] * 3)
    await kept.attempt({"p2": 2})
    kept.job.tables[role] = many([texts(*rows)] * 3).tables[role]
    ends = await kept.attempt()
    assert {type(end) for end in ends.values()} == {ProtocolAbort}, ends


def local(job: Job, spaces: Mapping[str, MemoryWorkspace], resumed: int, cut: str = "") -> Any:
    """An attempt in one thread and without a journal; ``cut`` is a role that stops after a checkpoint."""
    job.storage = {role: LITTLE | {"workspace": space, "resumed": resumed} for role, space in spaces.items()}
    steps = {role: job.steps(role) for role in job.roles}
    if cut:
        steps[cut] = cut_after(steps[cut], 1)
    return job.open(run_local(steps, binding=job.binding))


def test_a_party_that_hides_another_input_is_found_out_by_its_commitment() -> None:
    spaces, others = ({f"p{i + 1}": MemoryWorkspace() for i in range(3)} for _ in range(2))
    job = tight([range(200)] * 3)
    other = tight([range(200), range(200), range(50, 250)])
    for made, kept in ((job, spaces), (other, others)):
        with pytest.raises(PeerLost):
            local(made, kept, 0, cut="p1")
    # What p3 kept is of its other input, so it sees nothing wrong.
    job.tables["p3"] = other.tables["p3"]
    with pytest.raises(ProtocolAbort, match="the input of p3 is another than when the job began"):
        local(job, spaces | {"p3": others["p3"]}, 1)


async def test_other_memory_on_resume_is_an_abort() -> None:
    kept = Kept([range(200)] * 3)
    await kept.attempt({"p2": 2})
    for role, space in kept.spaces.items():
        kept.job.storage[role] = {"workspace": space}
    ends = await kept.attempt()
    assert {type(end) for end in ends.values()} == {ProtocolAbort}
    assert any("memory or processors changed" in str(end) for end in ends.values())


def test_a_damaged_workspace_is_told() -> None:
    spaces = {f"p{i + 1}": MemoryWorkspace() for i in range(3)}
    job = tight([range(200)] * 3)
    with pytest.raises(PeerLost):
        local(job, spaces, 0, cut="p1")
    whole = bytes(spaces["p1"].read("psi.wave.0"))
    spaces["p1"].write("psi.wave.0", whole[:-5])
    with pytest.raises(DataError, match="damaged"):
        local(job, spaces, 1)
    spaces["p1"].write("psi.wave.0", whole)
    assert local(job, spaces, 1)["count"] == 200


@pytest.mark.parametrize("role", ["p1", "p2", "p3"])
async def test_each_party_can_cancel_in_the_middle(role: str) -> None:
    kept = Kept(SETS)

    def cancelling(n: int, message: Message) -> list[Message]:
        if isinstance(message, Turn) and kept.waves[role][-1] == 2:
            kept.events[role].set()
        return [message]

    ends = await kept.attempt(change={role: cancelling})
    expected = {one: JobCancelled if one == role else CancelledElsewhere for one in ends}
    assert {one: type(end) for one, end in ends.items()} == expected, ends


# -- parties that deviate


def _swapped(kind: type[Message], first: int, second: int) -> Any:
    """A role whose first and second message of a type change places."""
    seen: list[Message] = []

    def change(n: int, message: Message) -> list[Message]:
        if not isinstance(message, kind):
            return [message]
        seen.append(message)
        at = len(seen) - 1
        return [seen[first]] if at == second else [message]

    return change


@pytest.mark.parametrize(
    ("role", "kind", "first", "second"),
    # The leader says its turn to each of the two others in every wave.
    [("p1", Turn, 0, 2), ("p1", Turn, 0, 1), ("p2", Turn, 0, 1), ("p3", Turn, 1, 3)],
)
def test_a_bucket_out_of_turn_ends_in_typed_aborts(role: str, kind: Any, first: int, second: int) -> None:
    job = tight(SETS)
    ends = job.run_async({role: replacing(job.steps(role), _swapped(kind, first, second))})
    assert not any(isinstance(end, RunResult) for end in ends.values()), ends
    assert any(isinstance(end, ProtocolAbort) for one, end in ends.items() if one != role), ends


def test_a_repeated_store_ends_in_typed_aborts() -> None:
    job = tight(SETS)

    def twice(n: int, message: Message) -> list[Message]:
        return [message, message] if isinstance(message, Hint) else [message]

    ends = job.run_async({"p3": replacing(job.steps("p3"), twice)})
    assert not any(isinstance(end, RunResult) for end in ends.values()), ends


def test_a_party_that_says_different_things_to_different_parties_is_an_abort() -> None:
    job = tight(SETS)

    def two_tongued(n: int, message: Message) -> list[Message]:
        # The first goes to p1, the second to p2.
        return (
            [msgspec.structs.replace(message, count=160)] if isinstance(message, Hello) and n else [message]
        )

    ends = job.run_async({"p3": replacing(job.steps("p3"), two_tongued)})
    assert {type(end) for end in ends.values()} == {ProtocolAbort}, ends


def hello(count: int, most_items: int, parallel: int = 1) -> Hello:
    return Hello(count, bytes(32), bytes(32), most_items, parallel, 0)


def test_the_plan_follows_the_least_memory_and_the_leader_has_a_share_for_each_peer() -> None:
    hellos = {"p1": hello(1000, 400), "p2": hello(900, 1 << 20), "p3": hello(10, 1 << 20)}
    plan = Plan.of(hellos, "p1")
    assert plan.buckets == 8
    assert Plan.of(hellos, "p2").buckets == 4
    assert plan.sizes["p1"] > plan.sizes["p2"] > plan.sizes["p3"]
    assert plan.most_matches(0) == plan.sizes["p3"]
    assert Plan.of(dict.fromkeys(hellos, hello(1000, 2000)), "p1").buckets == 1
    assert [
        Plan.of(dict.fromkeys(hellos, hello(n, 1 << 30)), "p1").words("p1") for n in (1 << 24, 1 << 25)
    ] == [
        1,
        2,
    ]


def test_announcing_hardly_any_memory_does_not_let_a_party_compare_more() -> None:
    job = many([texts(*range(5))] * 3, max_elements=100)
    hellos = {"p1": hello(5, 1 << 20), "p2": hello(90, 1 << 20), "p3": hello(40, 16)}
    plan = Plan.of(hellos, "p1")
    with pytest.raises(ProtocolAbort, match="too many for the keys of"):
        check_padding(plan, hellos, "p1", job.params)
    alike = dict.fromkeys(hellos, hello(90, 16))
    check_padding(Plan.of(alike, "p1"), alike, "p1", job.params)
