"""What we do for a rule: one module per action.

An action reads the world, does only what is missing, and says how it went; run twice, it changes
nothing. It reaches Amplience and destinations through the clients that it is handed, and must not
know how jobs are handed out, timed or retried.
"""

from app.actions.attempt import Action, Attempt, Sending, ToDestination

__all__ = ["Action", "Attempt", "Sending", "ToDestination"]
