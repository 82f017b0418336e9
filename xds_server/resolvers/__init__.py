"""Host names into addresses over time. Knows nothing of Envoy."""

from xds_server.resolvers.questions import Answer, Found, Lookup, Question, SrvAddress

__all__ = ["Answer", "Found", "Lookup", "Question", "SrvAddress"]
