"""Destinations: the places that we forward to. What is sent, how it is signed, how it is dialled.

This room must not know which job sends something, or whether it will be tried again.
"""
