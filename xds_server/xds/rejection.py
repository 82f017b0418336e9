"""Reads a rejection: which of the rejected resources the client's words name. No I/O."""

import re
from functools import lru_cache

_LONGEST = 16_384
"""Characters of the message that are searched. Clients cut theirs at a few thousand."""


def likely_culprits(message: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `names` that `message` names, in their order.

    A hint and no more: clients write for people (R29). A name counts where it stands alone, so that `web` is not found in
    `web-2`; one that could be a word (`a`, `the`) only in quotes or before a colon, as clients write names.
    """
    return _named(message[:_LONGEST], names)


@lru_cache(maxsize=64)  # a whole fleet rejects the same in the same words
def _named(message: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name and name in message and _stands_alone(name, message))


def _stands_alone(name: str, message: str) -> bool:
    quoted = re.escape(name)
    if re.search(rf"""(?<=['"`]){quoted}(?=['"`])|(?<![\w.#/-]){quoted}(?=:(?!\d))""", message):
        return True
    word = len(name) < 4 or name.isalpha()
    return not word and re.search(rf"(?<![\w.#/-]){quoted}(?![\w#/-]|\.\w)", message) is not None
