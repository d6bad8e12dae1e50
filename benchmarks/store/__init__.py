"""The store beside what else there is: `make bench-store`, or `python -m store` with benchmarks/ on the path."""
