"""Who may reach what: listening addresses, TLS, the names of nodes, and the API's tokens and roles.

Knows nothing of upstreams, of Envoy's messages and of how requests arrive.
"""
