"""Inputs that nobody would write by hand. `make fuzz` tries ten times as many."""
