"""Tools for developers: benchmarks, and a drill that breaks everything. Tests import none of it."""
