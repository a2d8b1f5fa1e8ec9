"""Where the calls of a role are done: in one thread, in several, or on a Ray cluster of the party's own.

A call is a function by name and plain arguments: bytes, numbers, texts, None, NumPy arrays without objects,
tuples, lists and dictionaries of these, and records (data classes, named tuples, structs) of the same
packages with such fields. Only functions of this package and of accel are called, on whichever machine:
a worker looks the name up in its own copy of the code and checks it again. Calls depend on nothing but
their arguments, so one whose worker dies is done again elsewhere. What comes back is checked to be plain
data before a role sees it.

On a Ray cluster arguments and results cross between the machines of one party, and lie in its object store
while they are needed: the secret scalars of a role, the digests of its keys, its shares. Who administers a
machine of the cluster, or gives it work, reads them and can change results, so all of it is trusted as the
node itself is: a cluster of the party's own, in its own network, with Ray's token (asked for unless
RAY_AUTH_MODE says otherwise) and, between machines, Ray's TLS (RAY_USE_TLS): without it they cross in the
clear. Ray serialises with pickle, so whoever may write to the cluster's ports can run code in it. Nothing of
it is ever exposed to another party.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec
import numpy as np

from accel.errors import AccelError
from compute.errors import BadInput, ComputeError
from compute.protocols.protocol import Call

PACKAGES = ("accel", "compute.protocols")
LOOPBACK = "127.0.0.1"
_RETRIES = 3
_MAX_DEPTH = 8


class ExecutorUnavailable(ComputeError):
    """The executor that the node's configuration names cannot be used here."""

    code = "executor.unavailable"


class ExecutorFailed(ComputeError):
    """A call could not be done, however often it was tried, or gave something that is no plain data."""

    code = "executor.failed"


class CallExecutor(Protocol):
    """Does calls. Thread-safe; ``parallel`` is how many at once are worth asking for."""

    parallel: int

    def __call__(self, calls: tuple[Call, ...]) -> tuple[Any, ...]:
        """The results in the order of the calls; raises what the first failing call raised."""

    def close(self) -> None:
        """Give threads and connections back."""


class InlineExecutor:
    """One call after the other in the caller's thread."""

    parallel = 1

    def __init__(self, packages: Sequence[str] = PACKAGES) -> None:
        self._packages = tuple(packages)

    def __call__(self, calls: tuple[Call, ...]) -> tuple[Any, ...]:
        """See `CallExecutor`."""
        for call in calls:
            name_of(call.function, self._packages)
        return tuple(call.function(*call.arguments) for call in calls)

    def close(self) -> None:
        """See `CallExecutor`."""


class ThreadExecutor:
    """Several threads of this process: for calls that spend their time in kernels, which release the lock."""

    def __init__(self, workers: int, packages: Sequence[str] = PACKAGES) -> None:
        self.parallel = workers
        self._packages = tuple(packages)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="calls")

    def __call__(self, calls: tuple[Call, ...]) -> tuple[Any, ...]:
        """See `CallExecutor`."""
        for call in calls:
            name_of(call.function, self._packages)
        if len(calls) == 1:
            return (calls[0].function(*calls[0].arguments),)
        futures = [self._pool.submit(call.function, *call.arguments) for call in calls]
        try:
            return tuple(future.result() for future in futures)
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """See `CallExecutor`."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class RayExecutor:
    """A Ray cluster: the one at ``address``, or one of ``workers`` processes on this machine's loopback."""

    def __init__(self, workers: int, address: str = "", packages: Sequence[str] = PACKAGES) -> None:
        """Connect or start; raises ExecutorUnavailable if Ray is not installed or does not answer."""
        self._packages = tuple(packages)
        within = _is_loopback(address)
        _secure(within, own=not address)
        try:
            self._ray = importlib.import_module("ray")
        except ImportError as error:
            raise ExecutorUnavailable(
                'executor = "ray" needs the extra "cluster": pip install "liutong[cluster]"'
            ) from error
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address:
            options["address"] = address
        else:
            options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
        try:
            self._ray.init(**options)
            self.parallel = max(1, int(self._ray.cluster_resources().get("CPU", workers)))
            own_ip = self._ray.util.get_node_ip_address()
        except self._ray.exceptions.AuthenticationError as error:
            raise ExecutorUnavailable(
                "the Ray cluster's token is missing or wrong: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from error
        except (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError) as error:
            raise ExecutorUnavailable(
                f"the Ray cluster does not answer, or not to this token: {error}"
            ) from error
        if within and own_ip != LOOPBACK:
            self._ray.shutdown()
            raise ExecutorUnavailable(f"Ray would listen at {own_ip} and not on the loopback alone")
        self._perform = self._ray.remote(max_retries=_RETRIES, num_cpus=1)(perform)

    def __call__(self, calls: tuple[Call, ...]) -> tuple[Any, ...]:
        """See `CallExecutor`; raises ExecutorFailed if a call's workers died again and again."""
        prepared = []
        for call in calls:
            if not is_plain(call.arguments, self._packages):
                raise BadInput("a call's arguments are plain data and NumPy arrays")
            prepared.append((name_of(call.function, self._packages), call.arguments))
        pending = [self._perform.remote(name, arguments, self._packages) for name, arguments in prepared]
        try:
            results = self._ray.get(pending)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.OutOfMemoryError as error:
            raise MemoryError from error
        except self._ray.exceptions.RayError as error:
            raise ExecutorFailed(f"the cluster could not do a call: {type(error).__name__}") from error
        # What is left of them after an error runs to its end: cancelling a call that is just completing makes
        # Ray 2.60 abort the whole process ("Tried to complete task that was not pending").
        if not all(is_plain(result, self._packages) for result in results):
            raise ExecutorFailed("a call gave something that is no plain data")
        return tuple(results)

    def close(self) -> None:
        """See `CallExecutor`."""
        self._ray.shutdown()


def _is_loopback(address: str) -> bool:
    """Whether all of a cluster is on this machine; raises BadInput for what is no ``host:port``."""
    if not address:
        return True
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise BadInput(f"ray_address = {address!r}: write host:port")
    return host in (LOOPBACK, "localhost")


def _secure(within: bool, *, own: bool) -> None:
    """Settle how Ray listens and whom it lets in, which it reads from the environment as it is imported."""
    settings = os.environ
    # It asks its makers' servers nothing.
    settings.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings.setdefault("RAY_AUTH_MODE", "token")
    if within:
        # Ray takes 127.0.0.1 for itself only where it was told to form no clusters over machines; else it
        # listens on all interfaces, whatever address it is given. The name is older than its use on Linux.
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if own:
        settings["RAY_AUTH_MODE"] = "token"
        settings.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def make_executor(kind: str, workers: int, address: str = "") -> CallExecutor:
    """The executor of a node's configuration: ``inline``, ``threads`` or ``ray``; 0 workers: one per core."""
    workers = workers or len(os.sched_getaffinity(0))
    if kind == "inline":
        return InlineExecutor()
    if kind == "threads":
        return ThreadExecutor(workers)
    if kind == "ray":
        return RayExecutor(workers, address)
    raise BadInput(f"there is no executor {kind!r}: inline, threads or ray")


def name_of(function: Callable[..., Any], packages: Sequence[str] = PACKAGES) -> str:
    """``module:name`` of a function that a worker may call; raises BadInput for any other."""
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    if resolve(name, packages) is not function:
        raise BadInput(f"{name} is not what a worker finds under this name: a call is a function of a module")
    return name


def resolve(name: str, packages: Sequence[str] = PACKAGES) -> Callable[..., Any]:
    """The function behind ``module:name``; raises BadInput for anything else."""
    module_name, _, function_name = name.partition(":")
    if not _within(module_name, packages) or not function_name.isidentifier():
        raise BadInput(f"a worker does not call {name}: only functions of {', '.join(packages)}")
    try:
        found: Callable[..., Any] | None = getattr(importlib.import_module(module_name), function_name, None)
    except ImportError:
        found = None
    # A class is callable too, but calls are functions: nothing with a life of its own crosses.
    if not callable(found) or isinstance(found, type):
        raise BadInput(f"a worker finds no function {name}")
    # What a module imported from elsewhere is not its own.
    if getattr(found, "__module__", module_name) != module_name:
        raise BadInput(f"{name} is not defined there")
    return found


def perform(name: str, arguments: tuple[Any, ...], packages: Sequence[str]) -> Any:
    """One call at a worker; run by Ray on whichever machine."""
    return resolve(name, packages)(*arguments)


def is_plain(value: Any, packages: Sequence[str] = PACKAGES, depth: int = 0) -> bool:
    """Whether a value is data that means the same in any process: no foreign objects, no code."""
    if value is None or type(value) in (bool, int, float, str, bytes, bytearray):
        return True
    if isinstance(value, np.ndarray | np.generic):
        return type(value).__module__ == "numpy" and not value.dtype.hasobject
    if depth >= _MAX_DEPTH:
        return False
    if type(value) in (tuple, list):
        return all(is_plain(item, packages, depth + 1) for item in value)
    if type(value) is dict:
        keys = all(type(key) in (str, int) for key in value)
        return keys and all(is_plain(item, packages, depth + 1) for item in value.values())
    fields = _fields(value) if _within(type(value).__module__, packages) else None
    return fields is not None and all(is_plain(item, packages, depth + 1) for item in fields)


def _fields(value: Any) -> tuple[Any, ...] | None:
    """The contents of a record; None for anything else."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.astuple(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    return None


def _within(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _cause(error: Exception) -> Exception:
    """What a call raised, if it is an error of ours; else a failure that repeats nothing of its words."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ComputeError | AccelError | MemoryError):
        return cause
    return ExecutorFailed(f"a call failed at a worker: {type(cause).__name__}")
