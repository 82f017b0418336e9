"""Who asks for something, for attribution."""

from dataclasses import dataclass

from xds_server.catalog.store.records import Attribution


@dataclass(frozen=True, slots=True)
class Actor:
    """A caller of the API."""

    name: str
    """Of the token, or ``local``."""
    client: str = ""
    """Address that the request came from."""

    def by(self, message: str = "") -> Attribution:
        """The attribution of a change."""
        return Attribution(self.name, message.replace("\0", ""), self.client)  # which PostgreSQL has no place for
