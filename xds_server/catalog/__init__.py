"""Desired state: where definitions come from, and the last good state of each source."""
