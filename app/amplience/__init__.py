"""Amplience's APIs, in Amplience's words."""
