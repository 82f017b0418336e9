"""PostgreSQL: what every connection is told, so that whoever hangs or is gone holds nobody up, and the locks of replicas."""

from typing import Any, Final

MIGRATION_LOCK: Final = 0x7864_7301
WRITE_LOCK: Final = 0x7864_7302
READER_LOCK: Final = 0x7864_7303
"""Keys of advisory locks: who changes the tables, who writes a revision, who reads the definition files."""
STATEMENT: Final = 3
"""Seconds that a statement may take, waiting for others' locks included."""
MIGRATION: Final = 60
"""The same for changes of the tables, and for what reads or prunes the whole history."""
SILENT: Final = 10
"""Seconds after which a replica that says nothing in the middle of a transaction has lost it, and its locks."""

CONNECTION: Final = {
    "connect_timeout": 3,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 3000,
    "application_name": "xds-server",
}
"""How libpq connects, in seconds and milliseconds: a server that is gone without a word is noticed."""

SESSION: Final = {
    "statement_timeout": f"{STATEMENT}s",
    "lock_timeout": f"{STATEMENT}s",
    "idle_in_transaction_session_timeout": f"{SILENT}s",
    # The same from the other side: a replica whose machine is gone must not keep its locks.
    "tcp_keepalives_idle": "3s",
    "tcp_keepalives_interval": "1s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "3s",
}
"""What the server is told of each connection."""


def settings(session: dict[str, str]) -> str:
    """The statement that says it."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in session.items())


def set_up(connection: Any, _: object) -> None:
    """Called for each new connection of the engine."""
    with connection.cursor() as cursor:
        cursor.execute(settings(SESSION))
    connection.commit()
