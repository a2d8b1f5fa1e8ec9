"""Files that are there whole or not at all, of mode 0600.

What is written lies in a temporary file first, is flushed to the disk and then renamed: whoever is killed in
between leaves the old content or none. All raise OSError as the system does.
"""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path

from compute.protocols.workspace import Data

TEMPORARY = ".new-"


def mapped(path: Path) -> memoryview:
    """A file as it lies on the disk, not copied."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def mapped_if_there(path: Path) -> memoryview | None:
    """`mapped`, or None if there is no such file."""
    try:
        return mapped(path)
    except FileNotFoundError:
        return None


def replace_file(path: Path, *parts: Data) -> None:
    """Put the parts, one after the other, in place of what lies at ``path``; on disk when this returns."""
    temporary = write_beside(path, *parts)
    try:
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_beside(path: Path, *parts: Data) -> Path:
    """A temporary file beside ``path`` with all of the parts, on disk; or none."""
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for part in parts:
                write_all(descriptor, part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_file(path: Path) -> int:
    """Flush a file to the disk; its length."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def names_in(folder: Path) -> list[str]:
    """Names in a folder but those of temporary files."""
    return [name for name in os.listdir(folder) if not name.startswith(TEMPORARY)]


def write_all(descriptor: int, data: Data) -> None:
    """Write however much it is."""
    left = octets(data)
    while left:
        # The kernel takes at most 2 GiB at once.
        left = left[os.write(descriptor, left) :]


def octets(data: Data) -> memoryview:
    """The same data, byte by byte."""
    view = memoryview(data)
    # An array without rows cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove temporary files of a killed process; the caller holds the folder's lock."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)
