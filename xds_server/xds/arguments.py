"""What callers of the library give, checked where it is given: a wrong value is told to them, not to clients later."""

import inspect
from typing import Any


def require(value: object, kind: type, what: str) -> None:
    """Raises TypeError, naming `what`, for a value that is no `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{what} must be a {kind.__name__}, is {_described(value)}")


def require_text(value: object, what: str) -> None:
    """Raises TypeError for what is no text, ValueError for empty text."""
    require(value, str, what)
    if not value:
        raise ValueError(f"{what} cannot be empty")


def require_type_url(value: Any) -> None:
    """Raises TypeError or ValueError for what clients would never ask for as a type."""
    require(value, str, "a type URL")
    if "/" not in value:
        raise ValueError(f"{value!r} is no type URL: write type.googleapis.com/ before the name of a message")


def require_function(value: Any, what: str, *, is_awaited: bool = False) -> None:
    """Raises TypeError for what cannot be called, and unless `is_awaited` for what would have to be awaited."""
    if not callable(value):
        raise TypeError(f"{what} must be a function, is {_described(value)}")
    if is_awaited:
        return
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        raise TypeError(f"{what} must be a plain function, is async: nobody would await it")


def split_address(address: str) -> tuple[str, int]:
    """The host, an IPv6 address without its brackets, and the port. Raises ValueError for what is no host:port."""
    require(address, str, "an address")
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    in_brackets = host == f"[{bare}]"
    if not (colon and bare and port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in bare) != in_brackets:
        raise ValueError(f"{address!r} is not host:port, for example 127.0.0.1:18000 or [::1]:18000")
    return bare, int(port)


def _described(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 100 else text[:100] + '…'} ({type(value).__name__})"
