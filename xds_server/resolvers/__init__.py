"""Host names into addresses over time. Knows nothing of Envoy."""
