"""dc-relay: takes Amplience Dynamic Content webhooks and acts on them.

The rooms of this package are listed from the top floor down in docs/architecture.md. Imports
point down only; `lint-imports` enforces it.
"""

__version__ = "0.2.0"
