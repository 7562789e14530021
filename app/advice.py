"""What a reason or an alert means to a person, and what to do about it.

The tables in `docs/reference.md` are made of these texts: run `make docs` after a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_NOTHING = "nothing"


@dataclass(frozen=True)
class Advice:
    """What a slug means, and what to do about it; both begin with a small letter.

    `states` names the states of a job with this reason; an alert has none.
    """

    meaning: str
    todo: str
    states: str = ""

    @property
    def asks_for_nothing(self) -> bool:
        """Whether nobody needs to act."""
        return self.todo == _NOTHING


def why_paused(reason: str | None) -> str:
    """Why a destination is paused: what a person wrote, or what our own slug means."""
    return _PAUSES.get(reason or "", reason or "nobody said why")


_PAUSES = {"gone": "it answered 410 Gone", "by-hand": "by hand"}


def of_reason(slug: str | None) -> Advice | None:
    """Explain the reason of a job or an attempt; None for one that is not ours."""
    return None if slug is None else REASONS.get(slug)


REASONS: Mapping[str, Advice] = {
    "not-in-source-locale": Advice(
        "the item is in another locale than the rule's source locale; the variants that localize"
        " creates end here",
        "nothing",
        "skipped",
    ),
    "is-a-variant": Advice(
        "the item is in the source locale but is itself a variant of another item",
        "nothing",
        "skipped",
    ),
    "not-active": Advice(
        "the item is archived or deleted",
        "nothing",
        "skipped",
    ),
    "no-locale": Advice(
        "the item has no locale, so it cannot be localized",
        "set set_missing_locale in the rule to give such items the source locale",
        "skipped",
    ),
    "locales-not-allowed": Advice(
        "the item's repository allows none of the rule's locales",
        "add the locales to the hub or to the localization group, or change the rule; upper and"
        " lower case must match",
        "skipped",
    ),
    "awaiting-variants": Advice(
        "the variants were requested and Amplience is creating them",
        "nothing",
        "waiting",
    ),
    "request-unknown": Advice(
        "the response to the request was lost; the job checks whether Amplience carried it out"
        " before it asks again",
        "nothing",
        "waiting",
    ),
    "item-not-found-yet": Advice(
        "Amplience answered 404, which can happen just after an item is created",
        "nothing",
        "waiting",
    ),
    "item-not-found": Advice(
        "Amplience has answered 404 for the item for two minutes, more than once: the item is"
        " deleted, or the credentials belong to another hub",
        "check the hub's credentials and retry, or cancel the job",
        "dead",
    ),
    "unconfirmed": Advice(
        "the request was made, but after 15 minutes some variants are missing, or the item is"
        " still published",
        "look at the item in Amplience (a schema with mandatory delivery keys makes localizing"
        " fail), correct the cause, then retry",
        "dead",
    ),
    "not-archived": Advice(
        "unpublish: the item is not archived, or was unarchived meanwhile",
        'nothing; where = { status = "ARCHIVED" } in the rule avoids such jobs',
        "skipped",
    ),
    "awaiting-quota": Advice(
        "PUBLISH_QUOTA_PER_MINUTE is used up; the job waits for its turn",
        "nothing",
        "waiting",
    ),
    "awaiting-unpublish": Advice(
        "the unpublish was requested; the item is still published",
        "nothing",
        "waiting",
    ),
    "unpublish-not-permitted": Advice(
        "Amplience answered 403 to the unpublish request; retried for an hour",
        "give the credentials permission to publish in the item's repository, then retry the dead"
        " jobs",
        "waiting, then dead",
    ),
    "published-again": Advice(
        "the item was published again before its removal was sent to the destination",
        "nothing",
        "skipped",
    ),
    "version-conflict": Advice(
        "the item was saved again and again while it was being localized, or Amplience refused"
        " the request",
        "retry the job later",
        "waiting, then dead",
    ),
    "differs-from-snapshot": Advice(
        "the pulled content is not proven to be the published version; see verification.md",
        "nothing",
        "waiting",
    ),
    "snapshot-not-found-yet": Advice(
        "the Management API does not have the snapshot, or the item is not in it",
        "nothing",
        "waiting",
    ),
    "verification-unavailable": Advice(
        "the Management API does not answer, so the content cannot be verified",
        "nothing",
        "waiting",
    ),
    "unpublished-meanwhile": Advice(
        "the item was unpublished before its content was pulled",
        "nothing",
        "waiting, then skipped",
    ),
    "newer-sent": Advice(
        "a newer version of the item was already sent to the destination",
        "nothing",
        "superseded",
    ),
    "unverified-after-deadline": Advice(
        'sent with "verified": false because 15 minutes of checks brought no proof; stands under'
        " because in the detail of the attempt",
        "read last_look in the detail of the attempt; see verification.md",
        "succeeded",
    ),
    "no-snapshot": Advice(
        'sent with "verified": false because the event names no snapshot; stands under because'
        " in the detail of the attempt",
        "see verification.md",
        "succeeded",
    ),
    "verify-is-off": Advice(
        'sent with "verified": false because the hub does not set verify; stands under because'
        " in the detail of the attempt",
        "see verification.md",
        "succeeded",
    ),
    "content-not-found-yet": Advice(
        "the item is published, but Content Delivery 2 does not have it yet",
        "nothing",
        "waiting",
    ),
    "content-not-found": Advice(
        "Content Delivery 2 has not had the content for 15 minutes: the item was unpublished"
        " meanwhile, or the configured hub name is another hub's",
        "check AMPLIENCE_HUB_NAME and retry, or cancel the job",
        "dead",
    ),
    "unknown-hub": Advice(
        "the hub is no longer configured, or has no credentials (localize, unpublish) or no"
        " delivery (forward)",
        "configure it, restart, then retry",
        "dead",
    ),
    "unknown-destination": Advice(
        "the destination is no longer configured",
        "add it back, restart, then retry; or cancel the job",
        "dead",
    ),
    "unknown-action": Advice(
        "the job was made by another version of dc-relay",
        "run that version, or cancel the job",
        "dead",
    ),
    "destination-unavailable": Advice(
        "the destination did not answer, or answered 408, 425, 429 or 5xx; the message has the"
        " status",
        "check that the destination is up, then retry the dead jobs",
        "waiting, then dead",
    ),
    "destination-refused": Advice(
        "the destination answered with another status than 2xx that is not retried, or its"
        " address is private, or a configured secret cannot be used; a 410 pauses it, and its"
        " jobs wait",
        "read the start of its response in the detail of the attempt, correct the cause, then"
        " retry",
        "dead; waiting after a 410",
    ),
    "template-undefined": Advice(
        "a template of the destination uses a value that this item does not have, or that is"
        " null; nothing was sent",
        "give the value a default in the setting that the message names, restart, then retry",
        "dead",
    ),
    "template-invalid": Advice(
        "a template's result is not JSON, is too long, or cannot be sent; nothing was sent",
        "correct the setting that the message names, restart, then retry",
        "dead",
    ),
    "amplience-unavailable": Advice(
        "Amplience did not answer, or answered 5xx",
        "wait until Amplience is back, then retry the dead jobs",
        "waiting, then dead",
    ),
    "amplience-rate-limited": Advice(
        "Amplience answered 429; its Retry-After is respected",
        "wait; find out who else uses the account",
        "waiting, then dead",
    ),
    "amplience-unauthorized": Advice(
        "Amplience does not accept the credentials, or answered 401 or 403 with a fresh token"
        " too; retried for an hour",
        "run dc-relay check, give the API key its permissions, then retry the dead jobs",
        "waiting, then dead",
    ),
    "amplience-not-found": Advice(
        "Amplience answered 404; retried for an hour, unless Amplience's own error says that the"
        " item does not exist",
        "check the ids in the configuration, then retry the dead jobs",
        "waiting, then dead",
    ),
    "amplience-version-conflict": Advice(
        "the item was saved between reading and writing, several times in a row",
        "retry the job",
        "dead",
    ),
    "amplience-refused": Advice(
        "Amplience answered another 4xx or a redirect; retried for an hour, unless Amplience's"
        " own error rejects this item",
        "read the message, correct the cause, then retry",
        "waiting, then dead",
    ),
    "storage-unavailable": Advice(
        "the database failed during an attempt",
        "bring the database back, then retry the dead jobs",
        "waiting, then dead",
    ),
    "replayed": Advice(
        "its event was replayed, and a new job does the work again",
        "nothing",
        "superseded",
    ),
    "newer-event": Advice(
        "a newer event for the same item replaced this job before it was sent",
        "nothing",
        "superseded",
    ),
    "lost": Advice(
        "its worker was killed or stalled for 10 s, so another worker reclaims the job",
        "nothing; if it happens often, check memory limits",
        "waiting",
    ),
    "unreadable": Advice(
        "its database row holds a value that cannot be read, such as a date outside the years 1"
        " to 9999",
        "replay its event, which makes the job anew from the webhook's body, and report the fault",
        "dead",
    ),
    "poison": Advice(
        "its worker process died in three attempts in a row, so the job probably kills it",
        "see what the platform logged (out of memory?), report the fault, then retry",
        "dead",
    ),
    "internal-error": Advice(
        "a bug in dc-relay; the log has the stack trace (attempt.crashed)",
        "report it with the log lines of its event_id; retry once it is fixed",
        "waiting, then dead",
    ),
    "failed": Advice(
        "a failure without a reason of its own",
        "read the message and report the fault",
        "dead",
    ),
}

ALERTS: Mapping[str, Advice] = {
    "amplience-refusing": Advice(
        "Amplience answers 4xx to calls for a hub, and not clearly because of one item: wrong"
        " credentials, a firewall or a gateway. Raised at most once an hour for each hub; jobs are"
        " retried for an hour",
        "run dc-relay check; correct the credentials, or find out what answers in Amplience's"
        " place; then retry the dead jobs",
    ),
    "job-dead": Advice(
        "jobs failed for good (dead); raised at most once an hour for each action, target and"
        " reason",
        "do what the reason asks for, then retry the jobs",
    ),
    "destination-opened": Advice(
        "five sends in a row failed, so the circuit breaker is open and sending is on hold",
        "check that the destination is up; its queue is kept, and sending is tried again"
        " automatically",
    ),
    "destination-closed": Advice(
        "a test message was accepted, the circuit breaker is closed, and the backlog is sent"
        " slowly",
        "nothing",
    ),
    "destination-paused": Advice(
        "the destination answered 410, or a person paused it",
        "correct its URL or remove it from the configuration, then resume it",
    ),
    "oldest-waiting": Advice(
        "a job has been due for longer than oldest_waiting and has not run",
        "check whether its destination is paused, failing or slow; if not, run more workers, or"
        " raise its rate or concurrency",
    ),
    "id-conflict": Advice(
        "a known event id came again with another payload",
        "find out who sends it: a modified replay, or two webhooks with the same custom id",
    ),
    "no-live-worker": Advice(
        "no worker has sent a heartbeat for 15 seconds, or none ever did and jobs wait",
        "start a worker; nothing is lost, the jobs wait",
    ),
    "signatures-refused": Advice(
        "20 signatures were refused within 10 minutes, or 3 were wrong within an hour without a"
        " correct one",
        "compare WEBHOOK_SECRET with the webhook's secret in Amplience; if they are equal,"
        " somebody is guessing, or a proxy changes the body",
    ),
}
