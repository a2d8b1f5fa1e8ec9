"""What the assembler makes of a kernel for an H100 or H200, without one: registers, spills, instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accel.gpu import compile as gpu_compile
from tests.accel.gpu.host import missing

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
    """Compile for sm_90 and return what each kernel takes. Skips where there is no nvcc."""
    compiler = shutil.which("nvcc")
    if compiler is None:
        missing("nvcc")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cu"
        file.write_text(gpu_compile.source(source))
        target = Path(folder) / "kernel.cubin"
        command = [compiler, "-arch=sm_90", *gpu_compile.OPTIONS, *gpu_compile.macros(defines), str(file)]
        command += ["-cubin", "-Xptxas", "-v", "--keep", "--keep-dir", folder, "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        log = done.stderr + done.stdout
        ptx = (Path(folder) / "kernel.ptx").read_text()
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
            spilled=int(frame[2]) + int(frame[3]),
            shared=int(shared[1]) if shared else 0,
            wide=_wide(ptx, name[1]),
        )
    return found


def _wide(ptx: str, kernel: str) -> int:
    """Pairs mad.lo.cc / madc.hi are fused into one IMAD.WIDE; mul.wide and mad.wide are one each."""
    body = ptx.split(f".entry {kernel}(", 1)[1].split(".entry ", 1)[0]
    return len(re.findall(r"\bmadc?\.hi(?:\.cc)?\.u32|\bmul\.wide\.u32|\bmad\.wide\.u32", body))
