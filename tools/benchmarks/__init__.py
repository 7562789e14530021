"""Measures the service over HTTP, as processes on loopback: `make bench` and `make compare`."""
