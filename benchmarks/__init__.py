"""Measures the speed of both sources on the fake vendor: `python -m benchmarks`, `make bench`."""
