"""Who is at the other end of a connection: the names that its certificate proves. Who may be which node is the user's rule."""

from collections.abc import Callable
from typing import Any, Final

from xds_server.xds.node import Node

Names = tuple[str, ...]
"""DNS names and URIs (SPIFFE IDs) of a client's certificate, of its subject alternative name. The TLS handshake proved them."""

Authorize = Callable[[Node, Names | None], str | None]
"""Whether a client may be the node that it says it is: None, or a sentence that says why not.

It gets the names in the client's certificate, None where the connection showed none. It must not block.
"""

_PROPERTIES: Final = ("peer_dns", "peer_uri")


def certificate_names(context: Any) -> Names | None:
    """Those of a gRPC call's client; None where it showed no certificate. Addresses, mail and common names are left out."""
    proved = context.auth_context()
    if "x509_pem_cert" not in proved:
        return None
    return tuple(name.decode(errors="backslashreplace") for key in _PROPERTIES for name in proved.get(key, ()))
