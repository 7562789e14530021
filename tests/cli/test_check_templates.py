"""`dc-relay check` tries templates on samples, and connects to a templated URL all the same."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import invoke
from tests.servers import Reply, ScriptedServer

FILE = """
[destinations.search]
url = "{url}/items/{{{{ item.id }}}}"
allow_private = true
signing_secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
body = '{body}'
delete = {{ method = "DELETE" }}
"""


def _checked(environ: dict[str, str], folder: Path, body: str) -> str:
    server = ScriptedServer(lambda _: Reply(200))
    try:
        file = folder / "relay.toml"
        file.write_text(FILE.format(url=server.url, body=body))
        result = invoke("check", env={**environ, "RELAY_CONFIG": str(file)})
        assert result.exit_code == 0, result.output
        assert server.received == []
        return result.output
    finally:
        server.close()


def test_good_templates_are_not_mentioned(environ: dict[str, str], tmp_path: Path) -> None:
    shown = _checked(environ, tmp_path, '{"title": "{{ content.title }}"}')
    assert "sample" not in shown
    assert "/… takes connections" in shown


def test_template_that_makes_no_json_is_warned_of(environ: dict[str, str], tmp_path: Path) -> None:
    shown = _checked(environ, tmp_path, '{"title": {{ content.title }}}')
    assert "destinations.search.body" in shown
    assert "not JSON" in shown
