"""Destinations: what is sent there, how it is signed, and how they are connected to."""
