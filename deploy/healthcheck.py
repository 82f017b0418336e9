#!/opt/xds-server/bin/python
"""Exit code 0 when the control plane in this container serves definitions. Reads the variables that the server reads."""

import os
import ssl
import urllib.error
import urllib.request

host, _, port = os.environ.get("XDS_SERVER_HTTP_ADDRESS", "127.0.0.1:18080").rpartition(":")
here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
scheme = "https" if "XDS_SERVER_TLS_CERT" in os.environ else "http"
# Nothing is sent and nothing is believed but that a server of ours answers here: its certificate names others' way to it.
unverified = ssl._create_unverified_context()
# Whatever proxy this machine uses is not for what it runs itself.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified))
try:
    opener.open(f"{scheme}://{here}:{port}/readyz", timeout=4).close()
except urllib.error.HTTPError as error:
    raise SystemExit(f"{error.code} {error.read().decode(errors='replace')}") from None
except OSError as error:
    raise SystemExit(str(error)) from None
