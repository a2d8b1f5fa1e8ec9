"""Workspaces and caches: in memory and on disk they behave alike, and a full disk or a kill harms nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from compute.errors import DataError, DiskFull
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.directory_cache import DirectoryCache
from compute.protocols.workspace import Cache, MemoryCache, MemoryWorkspace, Workspace

NAMES = st.sampled_from(["a", "b.1", "c-d_e", "Z9"])
DATA = st.binary(max_size=40)


@pytest.fixture(params=["memory", "disk"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    return MemoryWorkspace() if request.param == "memory" else DirectoryWorkspace(tmp_path / "job")


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    return MemoryCache() if request.param == "memory" else DirectoryCache(tmp_path / "cache", 1 << 20)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\n", "é", "x" * 151, "../a", "a\x00"]
)
def test_what_is_no_name_is_refused_everywhere(name: str, workspace: Workspace, cache: Cache) -> None:
    for use in (
        lambda: workspace.write(name, b""),
        lambda: workspace.append(name, b""),
        lambda: workspace.read(name),
        lambda: workspace.remove(name),
        lambda: cache.put(name, b""),
        lambda: cache.get(name),
    ):
        with pytest.raises(DataError):
            use()


class Alike(RuleBasedStateMachine):
    """A workspace on disk against the one in memory, with restarts in between."""

    def __init__(self) -> None:
        super().__init__()

        self.folder = tempfile.TemporaryDirectory()
        self.disk = DirectoryWorkspace(Path(self.folder.name) / "job")
        self.memory = MemoryWorkspace()
        self.mark = self.oldest = 0

    def teardown(self) -> None:
        self.disk.close()
        self.folder.cleanup()

    @rule(name=NAMES, data=DATA)
    def write(self, name: str, data: bytes) -> None:
        self.disk.write(name, data)
        self.memory.write(name, data)

    @rule(name=NAMES, data=DATA)
    def append(self, name: str, data: bytes) -> None:
        self.disk.append(name, data)
        self.memory.append(name, data)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.disk.remove(name)
        self.memory.remove(name)

    @rule()
    def settle(self) -> None:
        self.mark += 1
        self.disk.settle(self.mark)
        self.memory.settle(self.mark)
        self.oldest = max(self.mark - 1, self.oldest)

    @rule(back=st.integers(0, 1))
    def restart(self, back: int) -> None:
        self.disk.close()
        self.disk = DirectoryWorkspace(Path(self.folder.name) / "job")
        self.mark = self.oldest = max(self.mark - back, self.oldest)
        self.disk.rewind(self.mark)
        self.memory.rewind(self.mark)

    @rule()
    def start_again(self) -> None:
        self.mark = self.oldest = 0
        self.disk.rewind(0)
        self.memory.rewind(0)

    @invariant()
    def same(self) -> None:
        assert self.disk.names() == self.memory.names()
        for name in self.disk.names():
            assert bytes(self.disk.read(name)) == bytes(self.memory.read(name))


Alike.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAlike = Alike.TestCase


def test_files_are_the_owners_only_and_views_outlive_replacement(tmp_path: Path) -> None:
    workspace = DirectoryWorkspace(tmp_path / "job")
    workspace.write("one", b"first")
    workspace.append("two", b"spill")
    workspace.settle(1)
    view = workspace.read("one")
    workspace.write("one", b"second")
    assert bytes(view) == b"first"
    assert bytes(workspace.read("one")) == b"second"
    workspace.remove("one")
    assert bytes(view) == b"first"
    for path in (tmp_path / "job").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "job").stat().st_mode & 0o077 == 0


def test_a_view_cannot_be_written(workspace: Workspace) -> None:
    workspace.write("one", b"first")
    with pytest.raises(TypeError):
        workspace.read("one")[0] = 1


def test_arrays_of_any_shape_can_be_kept(workspace: Workspace, cache: Cache) -> None:
    for shape in ((0, 32), (3, 0), (2, 3), (4,)):
        view = memoryview(np.arange(np.prod(shape), dtype=np.uint32).reshape(shape))
        workspace.write("array", view)
        workspace.append("array", view)
        cache.put("array", view)
        assert bytes(workspace.read("array")) == 2 * view.tobytes()
        assert cache.get("array") == view.tobytes()


def test_one_process_at_a_time_holds_a_workspace(tmp_path: Path) -> None:
    first = DirectoryWorkspace(tmp_path)
    with pytest.raises(DataError, match="another process"):
        DirectoryWorkspace(tmp_path)
    first.close()
    DirectoryWorkspace(tmp_path).close()


# What the child is killed in the middle of: it writes the same two names over and over.
_WRITER = """
import os, sys
from pathlib import Path
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.directory_cache import DirectoryCache
workspace = DirectoryWorkspace(Path(sys.argv[1]) / "job")
cache = DirectoryCache(Path(sys.argv[1]) / "cache", 1 << 24)
for i in range(1_000_000):
    block = bytes([i % 256]) * (1 << 18)
    workspace.write("whole", block)
    workspace.append("spill", block)
    cache.put("entry", block)
    if i == 2:
        workspace.settle(1)
    if i == 4:
        print("go", flush=True)
"""


def test_a_killed_writer_leaves_whole_files_and_settled_spills(tmp_path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"go\n"
            child.kill()
        with_remains = DirectoryWorkspace(tmp_path / "job")
        assert not [name for name in with_remains.names() if name not in ("whole", "spill")]
        with_remains.rewind(1)
        assert bytes(with_remains.read("whole")) == b"\x02" * (1 << 18)
        assert bytes(with_remains.read("spill")) == b"".join(bytes([i]) * (1 << 18) for i in range(3))
        entry = DirectoryCache(tmp_path / "cache", 1 << 24).get("entry")
        assert entry is None or bytes(entry) == bytes(entry[:1]) * (1 << 18)
        assert not list(tmp_path.rglob(".new-*"))
        with_remains.rewind(0)
        with_remains.close()


# RLIMIT_FSIZE makes the kernel stop a write in the middle, as a full disk does, for any user.
_FILLER = """
import resource, sys
from pathlib import Path
from compute.errors import DiskFull
from compute.protocols.directory import DirectoryWorkspace
from compute.protocols.directory_cache import DirectoryCache
workspace = DirectoryWorkspace(Path(sys.argv[1]) / "job")
cache = DirectoryCache(Path(sys.argv[1]) / "cache", 1 << 24)
workspace.write("whole", b"old"); workspace.append("spill", b"old"); cache.put("entry", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
big = bytes(1 << 17)
for use in (workspace.write, workspace.append, cache.put):
    try:
        use({workspace.write: "whole", workspace.append: "spill"}.get(use, "entry"), big)
    except DiskFull as error:
        assert error.code == "data.disk_full"
        print("full")
print(bytes(workspace.read("whole")), bytes(workspace.read("spill")), cache.get("entry"))
print([str(p) for p in Path(sys.argv[1]).rglob(".new-*")])
"""


def test_a_write_that_is_stopped_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FILLER, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["full"] * 3 + ["b'old' b'old' None", "[]"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skips where this process may not mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a tmpfs; the test above covers the same paths")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_is_a_typed_error_and_leaves_what_was_there(tiny_disk: Path) -> None:
    workspace = DirectoryWorkspace(tiny_disk / "job")
    workspace.write("kept", b"k" * 1000)
    workspace.append("spill", b"s" * 1000)
    for use in (workspace.write, workspace.append):
        for name in ("kept", "spill", "fresh"):
            if (use == workspace.append) != (name == "kept"):
                with pytest.raises(DiskFull):
                    use(name, bytes(1 << 20))
    assert bytes(workspace.read("kept")) == b"k" * 1000
    assert bytes(workspace.read("spill")) == b"s" * 1000
    workspace.write("half", b"h" * 150_000)
    with pytest.raises(DiskFull):
        workspace.append("half", b"h")  # a spill of it has no room beside it
    assert bytes(workspace.read("half")) == b"h" * 150_000
    workspace.remove("half")
    cache = DirectoryCache(tiny_disk / "cache", 1 << 30)
    for index in range(8):
        cache.put(f"entry.{index}", bytes(50_000))
    assert cache.get("entry.7") is not None, "older entries make room on a full disk"
    with pytest.raises(DiskFull):
        cache.put("huge", bytes(1 << 20))


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path, 3 * 1100)
    for name in ("one", "two", "three"):
        cache.put(name, name.encode() * 200)
    assert cache.get("one") is not None
    cache.put("four", bytes(1000))
    kept = [name for name in ("one", "two", "three", "four") if cache.get(name) is not None]
    assert kept == ["one", "three", "four"]
    cache.put("five", bytes(1 << 16))
    assert cache.get("five") is None, "larger than the whole cache"
    assert cache.get("four") is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:-1] + b"x",
        lambda data: data[:30],
        lambda data: b"",
        lambda data: b"X" + data[1:],
    ],
)
def test_a_damaged_entry_is_forgotten(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    DirectoryCache(tmp_path, 1 << 20).put("entry", b"content")
    path = tmp_path / "entry"
    path.write_bytes(damage(path.read_bytes()))
    cache = DirectoryCache(tmp_path, 1 << 20)
    assert cache.get("entry") is None
    assert not path.exists()
    cache.put("entry", b"content")
    found = cache.get("entry")
    assert found is not None
    assert bytes(found) == b"content"


def test_a_file_under_the_name_of_another_entry_is_forgotten(tmp_path: Path) -> None:
    DirectoryCache(tmp_path, 1 << 20).put("entry", b"content")
    (tmp_path / "entry").rename(tmp_path / "other")
    assert DirectoryCache(tmp_path, 1 << 20).get("other") is None


@given(st.lists(st.tuples(NAMES, DATA), max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_cache_gives_back_the_last_put_or_nothing(puts: list[tuple[str, bytes]]) -> None:

    with tempfile.TemporaryDirectory() as folder:
        cache, last = DirectoryCache(Path(folder), 250), dict[str, bytes]()
        for name, data in puts:
            cache.put(name, data)
            last[name] = data
            found = cache.get(name)
            assert found is not None
            assert bytes(found) == data
        for name, data in last.items():
            found = cache.get(name)
            assert found is None or bytes(found) == data
        used = sum(path.stat().st_size for path in Path(folder).iterdir())
        assert used <= 250


def test_threads_that_append_and_write_side_by_side_lose_nothing(tmp_path: Path) -> None:
    workspace = DirectoryWorkspace(tmp_path)

    def work(index: int) -> None:
        for _ in range(50):
            workspace.append("spill", bytes([index]) * 100)
            workspace.write(f"own.{index}", bytes([index]) * 100)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spilled = bytes(workspace.read("spill"))
    blocks = [spilled[at : at + 100] for at in range(0, len(spilled), 100)]
    assert sorted(blocks) == sorted(bytes([index]) * 100 for index in range(4) for _ in range(50))
    assert [bytes(workspace.read(f"own.{index}")) for index in range(4)] == [
        bytes([i]) * 100 for i in range(4)
    ]


def test_marks_that_are_not_noted_or_damaged_are_named(tmp_path: Path, workspace: Workspace) -> None:
    workspace.settle(1)
    workspace.settle(2)
    workspace.settle(3)
    for unknown in (1, 4):
        with pytest.raises(DataError, match="mark"):
            workspace.rewind(unknown)
    with pytest.raises(DataError, match="mark"):
        workspace.settle(3)
    workspace.rewind(2)
    with pytest.raises(DataError, match="mark"):
        workspace.rewind(3)
    disk = DirectoryWorkspace(tmp_path / "other")
    disk.append("spill", b"x")
    disk.settle(1)
    disk.close()
    (tmp_path / "other" / "spills" / "spill").unlink()
    disk = DirectoryWorkspace(tmp_path / "other")
    with pytest.raises(DataError, match="missing"):
        disk.rewind(1)
    disk.close()
    for damage in (b"{", b"{}", b'{"0": {"whole": ["\xff"]}}'):
        (tmp_path / "other" / "marks").write_bytes(damage)
        with pytest.raises(DataError, match="damaged"):
            DirectoryWorkspace(tmp_path / "other")


def test_a_spill_that_lost_its_end_is_not_filled_up_with_zeros(tmp_path: Path) -> None:
    workspace = DirectoryWorkspace(tmp_path)
    workspace.append("spill", b"x" * 100)
    workspace.settle(1)
    workspace.close()
    os.truncate(tmp_path / "spills" / "spill", 40)
    workspace = DirectoryWorkspace(tmp_path)
    with pytest.raises(DataError, match="missing"):
        workspace.rewind(1)


def test_what_a_mark_needs_is_kept_aside_and_then_let_go(tmp_path: Path) -> None:
    workspace = DirectoryWorkspace(tmp_path)
    for mark in range(1, 6):
        workspace.write(f"bucket.{mark}", bytes(100))
        workspace.settle(mark)
        workspace.remove(f"bucket.{mark}")
    assert len(list((tmp_path / "aside").iterdir())) == 2
    assert workspace.names() == ()
    workspace.rewind(4)
    assert workspace.names() == ("bucket.4",)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_flipped_bit_is_a_typed_error_and_no_other_content(
    tmp_path: Path, at: int, restarted: bool
) -> None:
    workspace = DirectoryWorkspace(tmp_path)
    workspace.write("whole", b"w" * 200)
    for _ in range(3):
        workspace.append("spill", b"s" * 100)
    workspace.settle(1)
    flip(tmp_path / "whole" / "whole", at)
    flip(tmp_path / "spills" / "spill", at)
    if restarted:
        workspace.close()
        workspace = DirectoryWorkspace(tmp_path)
        workspace.rewind(1)
    for name in ("whole", "spill"):
        with pytest.raises(DataError, match="damaged"):
            workspace.read(name)
    with pytest.raises(DataError, match="damaged"):
        workspace.append("whole", b"more")
    # What is made anew is sound again.
    workspace.remove("spill")
    workspace.append("spill", b"again")
    assert bytes(workspace.read("spill")) == b"again"


def test_a_bit_that_flipped_in_what_was_set_aside_is_found_when_it_comes_back(tmp_path: Path) -> None:
    workspace = DirectoryWorkspace(tmp_path)
    workspace.append("spill", b"s" * 100)
    workspace.settle(1)
    workspace.remove("spill")
    workspace.append("spill", b"other")
    flip(tmp_path / "aside" / "1.spills.spill", 7)
    workspace.rewind(1)
    with pytest.raises(DataError, match="damaged"):
        workspace.read("spill")


@pytest.mark.parametrize("at", range(0, 140, 3))
def test_a_note_on_marks_with_a_flipped_bit_is_no_note(tmp_path: Path, at: int) -> None:
    workspace = DirectoryWorkspace(tmp_path)
    workspace.write("name", b"x")
    workspace.append("spill", b"x")
    workspace.settle(1)
    workspace.close()
    flip(tmp_path / "marks", at % (tmp_path / "marks").stat().st_size)
    with pytest.raises(DataError, match="damaged"):
        DirectoryWorkspace(tmp_path)


def test_a_stray_file_in_a_workspace_is_nobodys(tmp_path: Path) -> None:
    workspace = DirectoryWorkspace(tmp_path)
    workspace.write("name", b"old")
    workspace.settle(1)
    workspace.write("name", b"new")
    for stray in ("notes.txt", "x.whole.name", "1.elsewhere.name", "README"):
        (tmp_path / "aside" / stray).touch()
    workspace.settle(2)
    workspace.rewind(1)
    assert bytes(workspace.read("name")) == b"old"


@pytest.mark.parametrize("use", ["get", "put", "remove"])
def test_a_folder_in_place_of_a_cache_entry_is_forgotten(tmp_path: Path, use: str) -> None:
    cache = DirectoryCache(tmp_path, 1 << 20)
    (tmp_path / "entry" / "inner").mkdir(parents=True)
    if use == "get":
        assert cache.get("entry") is None
    elif use == "remove":
        cache.remove("entry")
    if use != "put":
        assert not (tmp_path / "entry").exists()
    cache.put("entry", b"content")
    found = cache.get("entry")
    assert found is not None
    assert bytes(found) == b"content"
