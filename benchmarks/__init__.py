"""Reproducible measurements of the control plane, as it is run: `make benchmark`, or `python -m benchmarks --help`.

What was measured, and how, is in docs/performance.md. Linux only: what a process used is read from /proc.
"""
