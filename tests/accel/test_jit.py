import importlib.util

from numba import types

from accel.cpu import jit


def load(folder, monkeypatch, stamp):
    monkeypatch.setattr(jit, "_sources", lambda: stamp)
    source = folder / "sample.py"
    source.write_text(
        "from numba import types\n"
        "from accel.cpu.jit import compiled\n"
        "@compiled\n"
        "def double(x):\n"
        "    return 2 * x\n"
        "@compiled(signature=types.int64(types.int64))\n"
        "def triple(x):\n"
        "    return 3 * x\n"
    )
    spec = importlib.util.spec_from_file_location("sample", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_compiled_function_is_found_on_disk_until_a_source_changes(tmp_path, monkeypatch):
    for stamp, hits in (("old", 0), ("old", 1), ("new", 0), ("new", 1)):
        module = load(tmp_path, monkeypatch, stamp)
        assert (module.double(21), module.triple(14)) == (42, 42)
        for function in (module.double, module.triple):
            assert sum(function.stats.cache_hits.values()) == hits
        assert module.triple.signatures == [(types.int64,)]
