"""What somebody may do over the management API: four roles, each of which may all that those before it may."""

from enum import StrEnum


class Role(StrEnum):
    """How much is allowed, least first."""

    READ = "read"
    """Look at everything, metrics included."""
    OPERATE = "operate"
    """And change what targets take: drain, disable, enable, weight."""
    WRITE = "write"
    """And change definitions: apply, delete, roll back, confirm."""
    ADMIN = "admin"
    """And make and revoke tokens."""


def permits(role: Role, needed: Role) -> bool:
    """Whether `role` may do what needs `needed`."""
    return rank(role) >= rank(needed)


def rank(role: Role) -> int:
    """From 0, the least."""
    return tuple(Role).index(role)
