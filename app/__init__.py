"""dc-relay: takes Amplience Dynamic Content webhooks and acts on them.

docs/architecture.md lists its layers. Imports point down only; `lint-imports` enforces it.
"""

__version__ = "0.2.0"
