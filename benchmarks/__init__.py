"""The speed of both sources on the fake vendor: `python -m benchmarks`, or `make bench`."""
