"""What a person is told about a reason or an alert: what it means, and what to do.

The same words stand in `docs/operations.md`, and a test compares them. This module must not know
who tells it, or where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_NOTHING = "nothing"


@dataclass(frozen=True)
class Advice:
    """What a slug means, and what to do about it; both begin in small letters."""

    meaning: str
    todo: str

    @property
    def asks_for_nothing(self) -> bool:
        """Whether all is in order, and nobody needs to act."""
        return self.todo == _NOTHING


def why_paused(reason: str | None) -> str:
    """Why a destination is paused: what a person wrote, or what a slug of ours stands for."""
    return _PAUSES.get(reason or "", reason or "nobody said why")


_PAUSES = {"gone": "it answered 410, so it wants nothing more", "by-hand": "by hand"}


def of_reason(slug: str | None) -> Advice | None:
    """Explain the reason of a job or an attempt; None for one that is not ours."""
    return None if slug is None else REASONS.get(slug)


REASONS: Mapping[str, Advice] = {
    "not-in-source-locale": Advice(
        "the item is in another locale; each variant that localize makes ends here",
        "nothing",
    ),
    "is-a-variant": Advice(
        "the item is in the source locale, but was made from an older one",
        "nothing",
    ),
    "not-active": Advice(
        "the item is archived or deleted",
        "nothing",
    ),
    "no-locale": Advice(
        "the item has no locale, so it cannot be localized",
        "set set_missing_locale in the rule if such items are to get the source locale",
    ),
    "locales-not-allowed": Advice(
        "none of the wanted locales is allowed for the item's repository",
        "add them to the hub or the localization group, or change the rule; compare upper"
        " and lower case",
    ),
    "awaiting-variants": Advice(
        "requested; Amplience is making them",
        "nothing",
    ),
    "request-unknown": Advice(
        "the answer to the request was lost; it is looked whether it was carried out "
        "before it is made again",
        "nothing",
    ),
    "item-not-found-yet": Advice(
        "a new item can answer 404 for a moment",
        "nothing",
    ),
    "item-not-found": Advice(
        "Amplience has said for two minutes, and more than once, that there is no such item: "
        "it is deleted, or the credentials belong to another hub",
        "check the hub's credentials, or cancel",
    ),
    "unconfirmed": Advice(
        "it was requested, but not all variants have shown in 15 minutes, or the item "
        "still shows as published",
        "look in Amplience: a schema that makes delivery keys mandatory makes localizing "
        "fail. Mend that, then retry",
    ),
    "not-archived": Advice(
        "unpublish: the item is not archived, or was brought back meanwhile",
        'nothing; where = { status = "ARCHIVED" } in the rule spares such jobs',
    ),
    "awaiting-quota": Advice(
        "PUBLISH_QUOTA_PER_MINUTE is used up; it waits for its turn",
        "nothing",
    ),
    "awaiting-unpublish": Advice(
        "asked for; the item still shows as published",
        "nothing",
    ),
    "unpublish-not-permitted": Advice(
        "Amplience answers 403 to unpublishing; retried for an hour",
        "give the credentials the permission to publish in the item's repository; retry what is "
        "dead",
    ),
    "published-again": Advice(
        "the item was published again before the destination was told that it is gone",
        "nothing",
    ),
    "version-conflict": Advice(
        "somebody kept saving the item, or the request was refused",
        "retry it later",
    ),
    "differs-from-snapshot": Advice(
        "pulled, and not proven to be what was published; see verification.md",
        "nothing",
    ),
    "snapshot-not-found-yet": Advice(
        "the Management API does not have what the content is to be compared with",
        "nothing",
    ),
    "verification-unavailable": Advice(
        "the Management API does not answer, so nothing is proven",
        "nothing",
    ),
    "unpublished-meanwhile": Advice(
        "published, and unpublished before it was pulled",
        "nothing",
    ),
    "newer-sent": Advice(
        "the destination has taken a newer version of the item already",
        "nothing",
    ),
    "unverified-after-deadline": Advice(
        'in the attempt\'s detail, under because: why it was sent with "verified": false',
        "look at its last_look; see verification.md",
    ),
    "no-snapshot": Advice(
        'in the attempt\'s detail, under because: why it was sent with "verified": false',
        "look at its last_look; see verification.md",
    ),
    "verify-is-off": Advice(
        'in the attempt\'s detail, under because: why it was sent with "verified": false',
        "look at its last_look; see verification.md",
    ),
    "content-not-found-yet": Advice(
        "published, but Content Delivery 2 does not have it yet",
        "nothing",
    ),
    "content-not-found": Advice(
        "the content has not been there for 15 minutes: it was unpublished meanwhile, or "
        "the hub's name is another hub's",
        "check AMPLIENCE_HUB_NAME, or cancel",
    ),
    "unknown-hub": Advice(
        "the hub is no longer configured, or has no credentials (localize, unpublish) or "
        "no delivery (forward)",
        "configure it, restart, retry",
    ),
    "unknown-destination": Advice(
        "the destination is no longer configured",
        "configure it, restart, retry; or cancel",
    ),
    "unknown-action": Advice(
        "a job of another version of dc-relay",
        "run that version, or cancel",
    ),
    "destination-unavailable": Advice(
        "it gave no answer, or 408, 425, 429 or 5xx; the message has the status",
        "see whether it is up; then retry what is dead",
    ),
    "destination-refused": Advice(
        "it answered with a status that means no (after a 410 it is paused, and its jobs "
        "wait), or its address is private, or a secret cannot be used",
        "read the beginning of its answer, which the attempt keeps in its detail; mend "
        "the cause, then retry",
    ),
    "template-undefined": Advice(
        "a template of the destination asks for a value that this item does not have, or "
        "that is null; nothing was sent",
        "the message names the setting: give the value a default, restart, retry",
    ),
    "template-invalid": Advice(
        "what a template makes is not JSON, is too long, or cannot be sent; nothing was sent",
        "the message names the setting: correct it, restart, retry",
    ),
    "amplience-unavailable": Advice(
        "Amplience gave no answer, or a 5xx",
        "wait; then retry what is dead",
    ),
    "amplience-rate-limited": Advice(
        "Amplience answered 429; its Retry-After is obeyed",
        "wait; look who else uses the account",
    ),
    "amplience-unauthorized": Advice(
        "Amplience does not accept the credentials or answers 401 or 403, also with a fresh "
        "token; retried for an hour",
        "dc-relay check; give the API key its permissions; retry what is dead",
    ),
    "amplience-not-found": Advice(
        "Amplience answers 404; retried for an hour, unless Amplience's own error says that the "
        "item does not exist",
        "check the ids in the configuration; retry what is dead",
    ),
    "amplience-version-conflict": Advice(
        "the item was saved between reading and writing, time and again",
        "retry it",
    ),
    "amplience-refused": Advice(
        "Amplience answers another 4xx or a redirect; retried for an hour, unless Amplience's own "
        "error rejects this item",
        "read the message; mend, retry",
    ),
    "storage-unavailable": Advice(
        "the database failed within an attempt",
        "mend the database",
    ),
    "replayed": Advice(
        "a person replayed its event, and another job does it again",
        "nothing",
    ),
    "newer-event": Advice(
        "the same rule forwards the item again, and this one had not been sent",
        "nothing",
    ),
    "lost": Advice(
        "its worker was killed or stood still for 10 s; taken over",
        "nothing; if it happens often, look for memory limits",
    ),
    "unreadable": Advice(
        "its row in the database holds a value that cannot be read, such as a date outside of the"
        " years 1 to 9999",
        "replay its event, which makes the job anew from the webhook's body; report it",
    ),
    "poison": Advice(
        "its worker ended in three attempts in a row: it likely ends its process",
        "look what the platform says of those ends (memory?); report it; retry",
    ),
    "internal-error": Advice(
        "a fault of dc-relay; the log has the stack (attempt.crashed)",
        "report it with the log lines of its event_id; retry after the mend",
    ),
    "failed": Advice(
        "a failure that has no reason of its own",
        "read the message; report it",
    ),
}

ALERTS: Mapping[str, Advice] = {
    "amplience-refusing": Advice(
        "Amplience answers 4xx to calls for a hub, and not surely because of one item: the "
        "credentials, a firewall or a gateway; at most one an hour for each hub. Jobs are retried "
        "for an hour",
        "dc-relay check; correct the credentials, or see what answers in place of Amplience; then "
        "retry what is dead",
    ),
    "job-dead": Advice(
        "jobs were given up; at most one an hour for each action, target and reason",
        "what the reason asks for; then retry them",
    ),
    "destination-opened": Advice(
        "five sends in a row failed, and nothing more is sent for a while",
        "see whether it is up; its queue is kept, and it is tried again by itself",
    ),
    "destination-closed": Advice(
        "what was sent to try was taken, and the backlog leaves slowly",
        "nothing",
    ),
    "destination-paused": Advice(
        "it answered 410, or a person paused it",
        "correct its URL or take it out, then resume it",
    ),
    "oldest-waiting": Advice(
        "a job could have run for longer than oldest_waiting, and did not",
        "see whether its destination is paused, failing or slow; if not, run more "
        "workers, or raise its rate or concurrency",
    ),
    "id-conflict": Advice(
        "an event id came again with another payload",
        "see who sends it: a replay that was changed, or two webhooks with one custom id",
    ),
    "no-live-worker": Advice(
        "no worker has beaten for 15 seconds, or none ever did and jobs wait",
        "start one; nothing is lost, everything waits",
    ),
    "signatures-refused": Advice(
        "20 signatures were refused within 10 minutes, or 3 were wrong within an hour in "
        "which none was right",
        "compare WEBHOOK_SECRET with the webhook's secret in Amplience; if they are "
        "equal, somebody guesses, or something in front changes the body",
    ),
}
