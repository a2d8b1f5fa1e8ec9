"""What the assembler makes of a kernel for an H100 or H200, without one: registers, spills, instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from accel.gpu import compile as gpu_compile

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Usage:
    """Of one kernel. ``wide``: 32x32-bit products of 64 bits in its code, loops counted once."""

    registers: int
    stack: int
    spilled: int
    shared: int
    wide: int


@cache
def usage(source: str, **defines: int) -> dict[str, Usage]:
    """Compile for sm_90 and return what each kernel takes. Skips where there is neither nvcc nor NVRTC."""
    text, options = gpu_compile.source(source), [*gpu_compile.OPTIONS, *gpu_compile.macros(defines)]
    log, ptx = _by_nvcc(text, options) if shutil.which("nvcc") else _by_nvrtc(text, options)
    found: dict[str, Usage] = {}
    for part in log.split("Compiling entry function")[1:]:
        name = _ENTRY.match("Compiling entry function" + part)
        frame, used, shared = _FRAME.search(part), _USED.search(part), _SHARED.search(part)
        assert name is not None, log
        assert frame is not None, log
        assert used is not None, log
        found[name[1]] = Usage(
            registers=int(used[1]),
            stack=int(frame[1]),
            # Of the kernel and of every function it calls.
            spilled=sum(int(out) + int(back) for _, out, back in _FRAME.findall(part)),
            shared=int(shared[1]) if shared else 0,
            wide=_wide(ptx, name[1]),
        )
    return found


def _by_nvcc(text: str, options: list[str]) -> tuple[str, str]:
    """The assembler's log and the PTX."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cu"
        file.write_text(text)
        command = ["nvcc", "-arch=sm_90", *options, str(file), "-cubin", "-Xptxas", "-v"]
        command += ["--keep", "--keep-dir", folder, "-o", f"{folder}/kernel.cubin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout, (Path(folder) / "kernel.ptx").read_text()


def _by_nvrtc(text: str, options: list[str]) -> tuple[str, str]:
    """The same from the library that CuPy uses, by CuPy's binding, which needs no driver."""
    if find_spec("cupy_backends") is None:
        pytest.skip("neither nvcc nor CuPy with NVRTC is there")  # CI cannot fetch them either
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC cannot be loaded: {error}")

    def compiled(*target: str) -> int:
        program = nvrtc.createProgram(text, "kernel.cu", (), ())
        nvrtc.compileProgram(program, [*options, *target])
        return program

    log = nvrtc.getProgramLog(compiled("--gpu-architecture=sm_90", "--ptxas-options=-v"))
    ptx = nvrtc.getPTX(compiled("--gpu-architecture=compute_90"))
    return log, ptx.decode() if isinstance(ptx, bytes) else ptx


def _wide(ptx: str, kernel: str) -> int:
    """Pairs mad.lo.cc / madc.hi are fused into one IMAD.WIDE; mul.wide and mad.wide are one each."""
    body = ptx.split(f".entry {kernel}(", 1)[1].split(".entry ", 1)[0]
    return len(re.findall(r"\bmadc?\.hi(?:\.cc)?\.u32|\bmul\.wide\.u32|\bmad\.wide\.u32", body))
