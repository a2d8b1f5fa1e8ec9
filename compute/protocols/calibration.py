"""How fast this machine is at what protocols are made of: operations per second, measured once.

`Cost.operations` counts by name; a calibration says how many of a name one core does in a second, per backend
of `accel` (a GPU's are for the whole device). `liutong quote --calibrate` measures and writes the user's
file; where there is none, the table that ships with the program is used, and every quote says which.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from compute.errors import BadInput, DataError

DEVICE = "gpu"
"""The backend whose rates are of a whole device and not of a core."""

_SHIPPED = Path(__file__).with_name("calibration.json")
_Rate = Annotated[float, Meta(gt=0)]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``rates``: operation → backend → operations per second, of one core or of the device.

    ``level`` is that of its processor (`accel.features`), ``date`` is ISO 8601, ``cores`` what the machine
    has; ``source`` is where the table was read from.
    """

    machine: str
    level: str
    date: str
    cores: Annotated[int, Meta(ge=1)]
    rates: dict[str, dict[str, _Rate]]
    source: str = ""

    def rate(self, operation: str, backend: str = "auto") -> tuple[float, bool]:
        """Operations per second, and whether they are those of a device: then more cores do not help.

        "auto" takes the device where it was measured, else the fastest of the others. Raises BadInput for an
        operation or backend that was not measured.
        """
        found = self.rates.get(operation)
        if found is None:
            raise BadInput(f"the calibration has no rate for {operation}: run `liutong quote --calibrate`")
        if backend == "auto":
            chosen = DEVICE if DEVICE in found else max(found, key=lambda name: found[name])
        elif backend == "cpu":
            others = [name for name in found if name != DEVICE]
            if not others:
                raise BadInput(f"{operation} was not measured on a processor")
            chosen = max(others, key=lambda name: found[name])
        elif backend in found:
            chosen = backend
        else:
            raise BadInput(f"{operation} was not measured on {backend!r}; it was on {', '.join(found)}")
        return found[chosen], chosen == DEVICE


def user_file() -> Path:
    """Where this user's calibration lies (XDG base directories: state)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "liutong" / "calibration.json"


def load(path: Path | None = None) -> Calibration:
    """The calibration in ``path``; by default the user's own, else the one that ships with the program.

    Raises DataError if the file cannot be read as one: a damaged file is never passed over.
    """
    if path is None:
        own = user_file()
        if not own.exists():
            return shipped()
        path = own
    return _read(path, str(path))


@functools.cache
def shipped() -> Calibration:
    """The table that ships with the program; it names the machine and the day it was measured."""
    return _read(_SHIPPED, "shipped with the program")


def save(calibration: Calibration, path: Path | None = None) -> Path:
    """Write a calibration, by default as the user's own; all of it or nothing."""
    path = path or user_file()
    content = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(calibration, source="")))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content + b"\n")
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _read(path: Path, source: str) -> Calibration:
    try:
        read = msgspec.json.decode(path.read_bytes(), type=Calibration, strict=True)
    except OSError as error:
        raise DataError(f"the calibration {path} cannot be read: {error.strerror}", file=path.name) from error
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{path} is no calibration ({error}): remove it, or run `liutong quote --calibrate`",
            file=path.name,
        ) from error
    return msgspec.structs.replace(read, source=source)
