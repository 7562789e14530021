"""`dc-relay check` against the sandbox: all fine, and one thing wrong at a time."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.db import Storage, upgrade_schema
from sandbox import SandboxServer
from tests.cli.conftest import bare_environment, invoke
from tests.servers import ScriptedServer, json_reply

ALL = (
    "database",
    "hub main: token",
    "hub main: id and name",
    "hub main: delivery",
    "destination default",
)


def report(env: dict[str, str], *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """What `check --json` says."""
    result = invoke("check", "--json", *arguments, env=env)
    assert result.exit_code == exit_code, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    assert found["ok"] == (exit_code == 0)
    return found


def details(found: Mapping[str, Any], *, ok: bool) -> dict[str, str]:
    return {each["name"]: each["detail"] for each in found["checks"] if each["ok"] == ok}


def places(found: Mapping[str, Any]) -> list[str]:
    return [each["place"] for each in found["warnings"]]


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def test_everything_fine_is_one_line_each_and_leaves_no_trace(
    environ: dict[str, str], sandbox: SandboxServer, tmp_path: Path
) -> None:
    result = invoke("check", env=environ)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    ticked = [line[2:] for line in lines if line.startswith("✓ ")]
    assert [
        name for name, line in zip(ALL, ticked[1:], strict=True) if not line.startswith(name)
    ] == []
    assert ticked[0].split() == [
        "configuration",
        *("1", "hub,"),
        *("2", "rules,"),
        *("1", "destination"),
    ]
    assert lines[-1] == "All is fine."
    # A database that is not there is not made, and nobody was told anything.
    assert "will be made by `dc-relay serve`" in ticked[1]
    assert list(tmp_path.iterdir()) == []
    asked = [(call.method, call.path.rpartition("/")[2]) for call in list(sandbox.state.calls)]
    hub_id = sandbox.state.options.hub_id
    assert asked == [("POST", "token"), ("GET", hub_id), ("POST", "fetch")]


def test_json_has_every_check_with_its_time(environ: dict[str, str]) -> None:
    found = report(environ)
    assert set(found) == {"ok", "problems", "warnings", "checks"}
    assert found["problems"] == []
    assert [each["name"] for each in found["checks"]] == list(ALL)
    for each in found["checks"]:
        assert set(each) == {"name", "ok", "detail", "milliseconds"}
        assert 0 <= each["milliseconds"] < 5000


FAULTY = {
    "PORT": "eighty",
    "FORWARD_URL": "search.example",
    "LOCALIZE_LOCALES": "fr-FR",
    "AMPLIENCE_CLIENT_ID": "half-a-pair",
}
FAULTS = [
    "AMPLIENCE_CLIENT_SECRET",
    "FORWARD_URL",
    "LOCALIZE_SOURCE_LOCALE",
    "PORT",
    "WEBHOOK_SECRET",
]


def test_all_faults_of_the_configuration_are_told_at_once_and_nothing_is_tried() -> None:
    result = invoke("check", env=FAULTY)
    assert result.exit_code == 2
    assert result.stdout == ""
    told = [line.strip().partition(":")[0] for line in result.stderr.splitlines()[1:]]
    assert sorted(set(told)) == FAULTS
    assert "Set both." in result.stderr


def test_all_faults_of_the_configuration_as_json() -> None:
    found = report(FAULTY, exit_code=2)
    assert sorted({each["place"] for each in found["problems"]}) == FAULTS
    assert all(each["message"] and each["advice"] for each in found["problems"])
    assert found["checks"] == []


def test_faults_of_a_file_have_their_place_in_it(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text(
        '[hubs.main]\nwebhook_secrets = ["${MISSING}"]\n'
        '[[rules]]\nname = "r"\nactoin = "localize"\n'
    )
    found = report({}, exit_code=2)
    assert 'relay.toml: rules["r"].actoin' in {each["place"] for each in found["problems"]}


@pytest.mark.processes
def test_real_process_exits_with_two_on_a_faulty_configuration(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "app", "check", "--offline"],
        env={**bare_environment(), **FAULTY},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert all(place in ended.stderr for place in FAULTS)


def test_offline_connects_to_nothing(environ: dict[str, str], sandbox: SandboxServer) -> None:
    result = invoke("check", "--offline", env={**environ, "DATABASE_URL": "postgresql://h/n"})
    assert result.exit_code == 0
    assert "The configuration is fine." in result.output
    assert len(sandbox.state.calls) == 0


@pytest.fixture
def known(sandbox: SandboxServer, tmp_path: Path) -> dict[str, object]:
    """What the values of the table below are filled with."""
    (tmp_path / "text.txt").write_text("This is no database.")
    return {
        "closed": closed_port(),
        "sandbox": sandbox.url,
        "port": sandbox.port,
        "file": tmp_path / "text.txt",
    }


PAT = "AMPLIENCE_PERSONAL_ACCESS_TOKEN"
PRIVATE = "FORWARD_ALLOW_PRIVATE"
CLIENT_SECRET = "AMPLIENCE_CLIENT_SECRET"


# What is set wrongly, the check that alone fails (with what depends on it), and the reason.
@pytest.mark.parametrize(
    ("changes", "failing", "reason"),
    [
        ({"AMPLIENCE_CLIENT_SECRET": "wrong"}, "hub main: token", "client id and secret (400)"),
        ({"AMPLIENCE_AUTH_URL": "http://127.0.0.1:{closed}"}, "hub main: token", "refused"),
        ({PAT: "amp_pat_wrong"}, "hub main: id and name", "not accepted"),
        ({"AMPLIENCE_HUB_ID": "b" * 24}, "hub main: id and name", "1 hub is visible: sandbox ("),
        ({"AMPLIENCE_HUB_NAME": "other"}, "hub main: id and name", "called sandbox"),
        ({"AMPLIENCE_API_URL": "http://127.0.0.1:{closed}"}, "hub main: id and name", "refused"),
        ({"AMPLIENCE_FRESH_API_KEY": "wrong"}, "hub main: delivery", "API key (401)"),
        ({"AMPLIENCE_DELIVERY_URL": "{sandbox}/nothing"}, "hub main: delivery", "hub's name"),
        ({"AMPLIENCE_DELIVERY_URL": "https://a.invalid"}, "hub main: delivery", "_HUB_NAME"),
        ({"FORWARD_ALLOW_PRIVATE": "0"}, "destination default", "allow_private = true"),
        ({"FORWARD_URL": "http://127.0.0.1:{closed}/x"}, "destination default", "refused"),
        ({"FORWARD_URL": "https://127.0.0.1:{port}/x"}, "destination default", "TLS failed"),
        ({"FORWARD_URL": "https://a.invalid/x"}, "destination default", "does not resolve"),
        ({"DATABASE_URL": "postgresql://u:p4ss@127.0.0.1:{closed}/n"}, "database", "refused"),
        ({"DATABASE_URL": "sqlite:////dev/null/relay.db"}, "database", "cannot be made"),
        ({"DATABASE_URL": "sqlite:///{file}"}, "database", "not a database"),
    ],
)
def test_one_wrong_setting_fails_one_check_and_the_others_go_on(
    environ: dict[str, str],
    known: dict[str, object],
    changes: dict[str, str],
    failing: str,
    reason: str,
) -> None:
    changes = {name: value.format(**known) for name, value in changes.items()}
    found = report({**environ, **changes}, exit_code=1)
    failed = details(found, ok=False)
    assert reason in failed.pop(failing)
    if failing == "hub main: token":
        assert failed.pop("hub main: id and name") == "not tried: there is no token"
    assert failed == {}
    tried = [name for name in ALL if not (PAT in changes and name == "hub main: token")]
    assert [each["name"] for each in found["checks"]] == tried


def test_failures_are_crossed_and_counted(environ: dict[str, str]) -> None:
    wrong = {"FORWARD_ALLOW_PRIVATE": "0", "AMPLIENCE_FRESH_API_KEY": "wrong"}
    result = invoke("check", env={**environ, **wrong})
    assert result.exit_code == 1
    crossed = [line for line in result.output.splitlines() if line.startswith("✗ ")]
    assert [line.split()[1] for line in crossed] == ["hub", "destination"]
    assert result.output.endswith("2 of 5 checks failed.\n")


@pytest.mark.parametrize(
    ("revision", "words"),
    [(None, "missing"), ("0000", "older (0000)"), ("9999", "newer")],
)
def test_schema_that_is_not_ours_is_told_with_what_to_do(
    environ: dict[str, str], revision: str | None, words: str
) -> None:
    storage = Storage(environ["DATABASE_URL"])
    if revision is None:
        with storage.write() as connection:
            connection.execute(text("CREATE TABLE other (n INTEGER)"))
    else:
        upgrade_schema(storage)
        with storage.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": revision})
    storage.close()
    failed = details(report(environ, exit_code=1), ok=False)
    assert list(failed) == ["database"]
    assert words in failed["database"]
    assert ("dc-relay db upgrade" in failed["database"]) == (words != "newer")


@pytest.mark.parametrize("hub_name", ["sandbox", None])
def test_without_an_id_the_visible_hubs_are_listed(
    environ: dict[str, str], sandbox: SandboxServer, hub_name: str | None
) -> None:
    env = {**environ, "AMPLIENCE_HUB_ID": "", "AMPLIENCE_HUB_NAME": hub_name or ""}
    found = details(report(env), ok=True)["hub main: id and name"]
    assert f"1 hub is visible: sandbox ({sandbox.state.options.hub_id})" in found
    assert "AMPLIENCE_HUB_ID" in found


@pytest.mark.parametrize(
    ("hubs", "reason"),
    [
        ([], "no hub is visible"),
        ([{"id": "1", "name": "one"}, {"id": "2", "name": "two"}], "one (1), two (2)"),
    ],
)
def test_without_an_id_a_hub_of_the_configured_name_must_be_visible(
    environ: dict[str, str], hubs: list[dict[str, str]], reason: str
) -> None:
    answer = {"_embedded": {"hubs": hubs}, "page": {"totalPages": 1}}
    server = ScriptedServer(lambda _request: json_reply(answer))
    try:
        env = {**environ, "AMPLIENCE_HUB_ID": "", "AMPLIENCE_API_URL": server.url}
        failed = details(report(env, exit_code=1), ok=False)
    finally:
        server.close()
    assert reason in failed.pop("hub main: id and name")
    assert failed == {}


def test_personal_access_token_is_checked_by_the_first_call(
    environ: dict[str, str], sandbox: SandboxServer
) -> None:
    found = report({**environ, PAT: sandbox.state.options.personal_access_token})
    assert "hub main: token" not in details(found, ok=True)
    assert sandbox.state.token_requests == 0


def test_check_that_gets_no_answer_ends_in_time(
    environ: dict[str, str], sandbox: SandboxServer
) -> None:
    sandbox.faults.add(where="fresh", kind="hang", seconds=1)
    found = report(environ, "--timeout", "0.3", exit_code=1)
    assert details(found, ok=False) == {"hub main: delivery": "no answer within 0.3 s"}


@pytest.mark.parametrize(("code", "status"), [("THROTTLED_REQUEST", 200), (None, 503)])
def test_delivery_that_cannot_answer_now_is_a_failure(
    environ: dict[str, str], sandbox: SandboxServer, code: str | None, status: int
) -> None:
    body = {"responses": [{"error": {"type": code, "message": "slow down"}}]} if code else "away"
    sandbox.faults.add(where="fresh", kind="status", status=status, body=body)
    failed = details(report(environ, exit_code=1), ok=False)
    assert (code or "503") in failed["hub main: delivery"]


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, ["destinations.default", "destinations.default"]),
        (
            {"FORWARD_URL": "", "LOCALIZE_LOCALES": "", "LOCALIZE_SOURCE_LOCALE": "", PRIVATE: ""},
            ["rules"],
        ),
        (
            {
                "FORWARD_URL": "https://search.example/",
                "FORWARD_SIGNING_SECRET": "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
            },
            [],
        ),
        (
            {"FORWARD_URL": "", PRIVATE: "", "WEBHOOK_SECRET": "fifteen-letters"},
            ["hubs.main.webhook_secrets"],
        ),
        ({"FORWARD_URL": "", PRIVATE: "", "WEBHOOK_SECRET": "sixteen-letters!"}, []),
        ({"FORWARD_URL": "", "AMPLIENCE_CLIENT_ID": "", PAT: "x"}, [CLIENT_SECRET, PRIVATE]),
    ],
)
def test_what_is_legal_but_surprising_is_warned_of(
    environ: dict[str, str], changes: dict[str, str], warned: list[str]
) -> None:
    env = {**environ, **changes}
    assert places(report(env, "--offline")) == warned
    shown = invoke("check", "--offline", env=env)
    assert shown.exit_code == 0
    assert sum(line.startswith("! ") for line in shown.output.splitlines()) == len(warned)


SECRETS = {
    "WEBHOOK_SECRET": "Zq1-webhook-secret",
    "AMPLIENCE_CLIENT_SECRET": "Zq2-client-secret",
    "AMPLIENCE_FRESH_API_KEY": "Zq3-api-key",
    "ADMIN_TOKEN": "Zq4-admin-token-of-24-characters",
    "FORWARD_SIGNING_SECRET": "whsec_WnE1MzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
}


@pytest.mark.parametrize("arguments", [("check",), ("check", "--json"), ("check", "--offline")])
@pytest.mark.parametrize("right", [True, False])
def test_no_secret_and_no_whole_destination_url_is_ever_shown(
    environ: dict[str, str], sandbox: SandboxServer, arguments: tuple[str, ...], right: bool
) -> None:
    env = {**environ, **SECRETS}
    env["FORWARD_URL"] = f"{sandbox.url.replace('//', '//Zq5-user:Zq6-pass@')}/Zq7-path?k=Zq8-query"
    env["DATABASE_URL"] = f"postgresql://user:Zq9-password@127.0.0.1:{closed_port()}/name"
    if right:
        env["AMPLIENCE_CLIENT_SECRET"] = sandbox.state.options.client_secret
    # A service that repeats what it was sent.
    echo = {"errors": [{"code": "X", "message": " ".join(env[name] for name in SECRETS)}]}
    if right:
        sandbox.faults.add(where="management", kind="status", status=500, body=echo)
    else:
        env["FORWARD_ALLOW_PRIVATE"] = "0"
        sandbox.faults.add(where="fresh", kind="status", status=500, body=echo)
    output = invoke(*arguments, env=env).output
    assert "destination" in output
    assert "Zq" not in output
    assert SECRETS["FORWARD_SIGNING_SECRET"] not in output
    assert sandbox.state.options.client_secret not in output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_cannot_be_written_is_a_failure(
    environ: dict[str, str], tmp_path: Path
) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        failed = details(report(environ, exit_code=1), ok=False)
    finally:
        tmp_path.chmod(stat.S_IRWXU)
    assert "cannot be made" in failed["database"]


def test_collector_is_dialled_and_may_be_anywhere(environ: dict[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found = report({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert details(found, ok=True)["collector of traces"] == f"{url}/… takes connections"


def test_collector_that_is_away_is_told(environ: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    found = report({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url}, exit_code=1)
    assert set(details(found, ok=False)) == {"collector of traces"}


@pytest.mark.processes
def test_collector_without_the_packages_is_a_surprise(environ: dict[str, str]) -> None:
    block = "import sys; sys.modules['opentelemetry.sdk'] = None; import app.cli; app.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", block, "check", "--offline", "--json"],
        env={**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    [warning] = [
        each
        for each in json.loads(done.stdout)["warnings"]
        if each["place"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    ]
    assert "dc-relay[otel]" in warning["advice"]
