"""Benchmarks in the browser; `make bench` runs them."""
