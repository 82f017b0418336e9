"""Responses that a client has not answered yet, and the waits that follow from them. No I/O, time is given."""

from typing import Final, NamedTuple


class Response(NamedTuple):
    """A response ready for the wire, and what is in it."""

    type_url: str
    nonce: str
    version: str
    names: tuple[str, ...]
    removed: tuple[str, ...]
    payload: bytes
    versions: tuple[str, ...]
    """Of the resources that `names` names."""


_NEVER: Final = 10.0
"""Seconds after which an answer is no longer expected (S24)."""


class Unanswered:
    """The responses of one type on one stream that wait for an ACK or NACK.

    `window`: how many may be under way before the next one waits, `wait` seconds at most (a client may never answer,
    S24). `remembered`: how many can still be matched to a late answer by their nonce (D29).
    """

    def __init__(self, window: int, remembered: int, wait: float) -> None:
        self._pace = self._usual_pace = (window, wait)
        self._remembered = remembered
        self._sent: dict[str, tuple[Response, float]] = {}
        self._adding: dict[str, float] = {}
        """When those were sent that bring something new."""

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, nonce: str) -> bool:
        return nonce in self._sent

    def names(self) -> set[str]:
        """What is in them."""
        return {name for response, _ in self._sent.values() for name in response.names}

    def sent(self, response: Response, now: float, *, adds: bool) -> None:
        """Note a response. `adds`: it brings resources that the client did not have before."""
        # Only what an answer is matched to: a client may withhold its answers, and payloads are long.
        self._sent[response.nonce] = (response._replace(payload=b""), now)
        self._adding = {nonce: since for nonce, since in self._adding.items() if now - since < _NEVER}
        if adds:
            self._adding[response.nonce] = now
        while len(self._sent) > self._remembered:
            forgotten = next(iter(self._sent))
            del self._sent[forgotten]

    def answered(self, nonce: str) -> Response | None:
        """The response that `nonce` answers; None for a nonce that is not waited for."""
        response, _ = self._sent.pop(nonce, (None, 0.0))
        if response is not None:
            # Where one is remembered the answer is to the latest response, and so to all before it.
            self._adding.pop(nonce, None)
            if self._remembered == 1:
                self._adding.clear()
        return response

    def slow_down(self, wait: float) -> None:
        """Let one response be under way, for `wait` seconds at most, until `resume_pace`."""
        self._pace = (1, wait)

    def resume_pace(self) -> None:
        """Pace as usual again."""
        self._pace = self._usual_pace

    def paced_until(self) -> float:
        """The time before which no further response should be sent; 0 for now."""
        window, wait = self._pace
        if len(self._sent) < window:
            return 0.0
        _, since = list(self._sent.values())[-window]
        return since + wait

    @property
    def adding_since(self) -> float | None:
        """Since when responses that bring something new wait without a pause; None when none does."""
        return min(self._adding.values(), default=None)
