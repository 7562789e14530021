"""Measures the service against a floor or against itself, a script for each question.

`make bench` runs them all and writes what they found into docs/benchmarks.md.
"""
