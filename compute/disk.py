"""What the operating system says about a party's files, as typed errors."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from compute.errors import DataError, DiskFull

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def typed(what: str) -> Iterator[None]:
    """Turn an OSError into DataError that begins with ``what``, or into DiskFull if there is no room."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull(f"{what}: the disk is full, or a limit of it is reached") from error
        raise DataError(f"{what}: {error.strerror}") from error
