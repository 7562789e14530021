"""A job that ended badly is told to the operator's destination."""

from __future__ import annotations

import json
from pathlib import Path

from app.worker.alerting import watch
from sandbox import SandboxServer
from tests.relay import SECRET, environment, running
from tests.stories.editing import create, publish

FILE = """
[destinations.ops]
url = "${DOWNSTREAM}/ops"
allow_private = true

[alerts]
to = ["ops"]
"""


def test_dead_job_reaches_the_operator_once(
    sandbox: SandboxServer, sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "relay.toml").write_text(FILE)
    environ = environment(
        sandbox,
        sqlite_url,
        RELAY_CONFIG=str(tmp_path / "relay.toml"),
        DOWNSTREAM=f"{sandbox.url}/downstream",
    )
    with running(environ) as relay:
        sandbox.add_webhook(f"{relay.url}/webhooks", SECRET)
        sandbox.faults.add(where="downstream", path="/default", kind="status", status=422)
        publish(sandbox, create(sandbox, locale="fr-FR"))
        relay.wait_for(skipped=1, dead=1)
        watch(relay.settings, relay.storage)
        watch(relay.settings, relay.storage)
        [received] = sandbox.received("ops", at_least=1)
        relay.wait_for(skipped=1, dead=1, succeeded=1)
    message = json.loads(received.body)
    assert message["type"] == "alert.job-dead"
    assert message["data"]["alert"]["subject"] == "forward default: destination-refused"
