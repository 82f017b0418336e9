"""Definitions and resolved addresses into the snapshots that node groups are served."""
