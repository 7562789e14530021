"""A stand-in for Amplience Dynamic Content that anyone can run.

One small web server plays the authorization server, the Management API, Content Delivery 2 and the
sender of signed webhooks, and it keeps what it is sent as a downstream would. It knows Amplience's
documented rules; it must not know that dc-relay exists, or it could not prove anything about it.
"""

from sandbox.options import Repository, SandboxOptions
from sandbox.server import SandboxServer

__all__ = ["Repository", "SandboxOptions", "SandboxServer"]
