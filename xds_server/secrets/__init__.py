"""Certificates that the control plane keeps in a directory of its own. Knows nothing of Envoy and of definitions."""
