"""Publishing and unpublishing with the Management API.

Both count against one quota: 100 a minute for the whole company, editors included
(https://amplience.com/developers/docs/apis/limits). Whoever calls them keeps the quota; this module
must not know how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from marshmallow import post_load

from app.amplience.answers import (
    AnswerSchema,
    loaded_value,
    optional_date,
    optional_text,
    required_id,
)
from app.amplience.http import Call
from app.amplience.management_http import ManagementHttp, path_id

PUBLISHED = frozenset({"LATEST", "EARLY"})
"""The values of an item's `publishingStatus` with which it is delivered; EARLY means that it was
changed since. The others are NONE (never published) and UNPUBLISHED."""

_JOB_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_JOB_PATH = re.compile(r"/publishing-jobs/([A-Za-z0-9_-]{1,100})(?:[/?#]|$)")


@dataclass(frozen=True)
class PublishingJob:
    """One request to publish.

    `state` is CREATED, PREPARING, WAITING, PUBLISHING, COMPLETED, FAILED or CANCELLED; `problem`
    is Amplience's word for what went wrong, with FAILED only.
    """

    id: str
    state: str | None = None
    problem: str | None = None
    created: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen; a cancelled one has ended as well."""
        return self.state in _JOB_ENDED


class _PublishingJobAnswer(AnswerSchema):
    id = required_id()
    state = optional_text()
    problem = optional_text("publishErrorStatus")
    created = optional_date("createdDate")

    @post_load(pass_original=True)
    def _value(
        self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object
    ) -> PublishingJob:
        return PublishingJob(extra=original, **loaded)


_PUBLISHING_JOB = _PublishingJobAnswer()


class PublishingVerbs(ManagementHttp):
    """Publish, unpublish, and how far a publish is."""

    def publish(self, item_id: str) -> str | None:
        """Publish an item with all that it links to: `POST /content-items/{id}/publish`.

        Returns the id of the publishing job, which only the `Location` header tells; None where
        there is none, and then the item's `publishing_status` must be looked at. The address in
        the header is not called. NotFound where there is no such item, Refused for an archived
        one; after an error with `maybe_done` it may be publishing.
        """
        answer = self._order(Call("POST", f"/content-items/{path_id(item_id)}/publish", json={}))
        found = _JOB_PATH.search(answer.headers.get("Location", ""))
        return found.group(1) if found else None

    def publishing_job(self, job_id: str) -> PublishingJob:
        """How far it is: `GET /publishing-jobs/{id}`. NotFound where there is no such job."""
        path = f"/publishing-jobs/{path_id(job_id)}"
        return cast(
            PublishingJob, loaded_value(_PUBLISHING_JOB, self._get(path), what="publishing job")
        )

    def unpublish(self, item_id: str) -> None:
        """Take one item off delivery: `POST /content-items/{id}/unpublish`.

        What it links to stays published, and so does its copy in a published parent
        (https://amplience.com/developers/docs/release-notes/2024/unpublish-content). There is no
        job to ask: the item's `publishing_status` shows when it is done. NotFound where there is
        no such item, Refused where it is not published, Unauthorized without the permission.
        """
        self._order(Call("POST", f"/content-items/{path_id(item_id)}/unpublish", json={}))
