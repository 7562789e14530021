"""Templates in a destination's settings: Jinja's sandbox, without calls and unbounded work.

The operator writes a template, but editors write the values that fill it. So each `{{ … }}` is
encoded for the place where it stands, and the work of a rendering is bounded.

https://jinja.palletsprojects.com/en/stable/templates/ describes the syntax, docs/configuration.md
what of it is there.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from html import escape
from typing import Any, Literal
from urllib.parse import quote

from jinja2 import StrictUndefined, Template, TemplateError, UndefinedError, nodes, pass_context
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.config.fields import did_you_mean

Kind = Literal["url", "header", "json", "text"]
# The parts of an envelope, and the parts of its `data` by their own names.
VARIABLES = frozenset(
    {"type", "timestamp", "data", "hub", "event", "snapshot", "item", "content"}
    | {"linkedContent", "source", "verified"}
)
LONGEST_TEMPLATE = 32 * 1024
LONGEST_BODY = 1024 * 1024
LONGEST_LINE = 8 * 1024
# What filters write and loops repeat, in characters, over one rendering. A count and no clock: what
# is sent must not depend on how busy the machine is.
_MOST_WORK = 8 * LONGEST_BODY
_STEP = 64

_OUTPUT = (nodes.Output, nodes.TemplateData, nodes.If, nodes.For)
_VALUES = (nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test)
_DECISIONS = (nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.CondExpr)
_LITERALS = (nodes.List, nodes.Dict, nodes.Pair)
_ALLOWED = (*_OUTPUT, *_VALUES, *_DECISIONS, *_LITERALS)
_TESTS = ("defined", "undefined", "none", "string", "number", "boolean", "mapping")
_LOOP = frozenset({"index", "index0", "first", "last", "length"})
_NAME_OF_WORK = "work "  # no template can say this name


class TemplateFault(ValueError):
    """A template that cannot be used; the text is the fault, a line break, and what to write."""


class Unrenderable(Exception):
    """A template cannot be filled with these values; the text quotes none of them."""

    reason = "template-invalid"


class ValueMissing(Unrenderable):
    """A template asks for a value that is not there, or is null."""

    reason = "template-undefined"


class Sample(str):
    """Stands for a value of which nothing is known: a text that has every field, and one entry."""

    __slots__ = ()


class _Encoded(str):
    """Text that a filter has made fit for its place already."""

    __slots__ = ()


class _Work:
    """How much one rendering may still do."""

    def __init__(self) -> None:
        self._left = _MOST_WORK

    def spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise Unrenderable("it does too much: its loops and filters make too long a text")


def is_template(text: str) -> bool:
    """Whether there is anything in `text` for a template to do."""
    return any(sign in text for sign in ("{{", "{%", "{#"))


def check_template(text: str, kind: Kind) -> None:
    """Raise `TemplateFault` unless `text` can be rendered as a template of this kind."""
    if len(text) > LONGEST_TEMPLATE:
        raise TemplateFault("This template is longer than 32 KiB.\nShorten it.")
    if kind == "url":
        _check_host(text)
    _compiled(text, kind)


def render(text: str, kind: Kind, values: Mapping[str, Any]) -> str:
    """Fill a template that was checked; `values` are some of `VARIABLES`.

    Each `{{ … }}` is encoded for its place: percent-encoded in a `url`, so that no value can change
    the path; as a part of a JSON string in `json`; as it is in a `header`, of at most 8 KiB, and in
    `text`. The same values always make the same text. Raises `ValueMissing` and `Unrenderable`.
    """
    limit = LONGEST_LINE if kind in ("url", "header") else LONGEST_BODY
    pieces: list[str] = []
    left = limit
    try:
        for piece in _compiled(text, kind).generate({**values, _NAME_OF_WORK: _Work()}):
            left -= len(piece)
            if left < 0:
                raise Unrenderable(f"what it makes is longer than {limit // 1024} KiB")
            pieces.append(piece)
    except UndefinedError as problem:
        raise ValueMissing(f"a value is not there: {_what_is_missing(problem)}") from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as problem:
        raise Unrenderable(f"it cannot be filled ({type(problem).__name__})") from None
    return "".join(pieces)


def _what_is_missing(problem: UndefinedError) -> str:
    # Jinja says `'dict object' has no attribute 'x'`; only the names of the template are kept.
    names = re.findall(r"'([A-Za-z_][\w-]*)'", str(problem))
    return names[-1] if names else "see the template"


def _check_host(text: str) -> None:
    written = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", text)
    if not written or is_template(written[1]) or "{" in written[1]:
        raise TemplateFault(
            "A template cannot choose the host.\nWrite scheme and host as they are, and use {{ … }}"
            " after the first slash."
        )


@lru_cache(maxsize=1024)
def _compiled(text: str, kind: Kind) -> Template:
    environment = _environment(kind)
    try:
        parsed = environment.parse(text)
        _check_language(parsed)
        for loop in parsed.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "steps ", [], [], None, None, lineno=loop.lineno)
        return Template.from_code(
            environment, environment.compile(parsed), environment.make_globals(None)
        )
    except TemplateError as problem:
        line = getattr(problem, "lineno", None)
        where = f" (line {line})" if line and line > 1 else ""
        raise TemplateFault(
            f"This template cannot be read{where}.\n"
            "Write {{ item.id }} for a value; docs/configuration.md lists what there is."
        ) from None
    except RecursionError:
        raise TemplateFault("This template is nested too deeply.\nMake it simpler.") from None


def _check_language(parsed: nodes.Template) -> None:
    """Raise `TemplateFault` for what Jinja has and our templates have not."""
    for node in parsed.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED):
            raise TemplateFault(
                "Templates have no such thing as is used here.\n"
                "Use values, filters, if and for; no calls, no arithmetic, no set, no macros."
            )
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            raise TemplateFault(f"There is no such filter.\n{did_you_mean(node.name, _FILTERS)}")
        if isinstance(node, nodes.Test) and node.name not in _TESTS:
            raise TemplateFault(f"There is no such test.\n{did_you_mean(node.name, _TESTS)}")
        if isinstance(node, nodes.For):
            _check_loop(node)
    # Jinja declares `self`, the template itself, wherever it is used.
    used = {node.name for node in parsed.find_all(nodes.Name)} & {"self"}
    unknown = sorted((find_undeclared_variables(parsed) | used) - VARIABLES)
    if unknown:
        raise TemplateFault(f"There is no such value.\n{did_you_mean(unknown[0], VARIABLES)}")


def _check_loop(loop: nodes.For) -> None:
    if loop.recursive or not isinstance(loop.target, nodes.Name):
        raise TemplateFault("This loop cannot be used.\nWrite {% for each in content.list %}.")
    if any(inner.find(nodes.For) for inner in loop.find_all(nodes.For)):
        raise TemplateFault("A loop is inside a loop inside a loop.\nUse two at most.")


class _Environment(ImmutableSandboxedEnvironment):
    """Values are JSON: names lead into objects and never to anything of Python."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Sample):
            return obj
        if isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj:
            return obj[argument]
        inside = type(argument) is int and isinstance(obj, list)
        if inside and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(obj=obj, name=argument)


@cache
def _environment(kind: Kind) -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        finalize=_PRINTED[kind],
        keep_trailing_newline=True,
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update(_FILTERS)
    environment.filters["steps "] = _steps
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


def _plain(value: object) -> str:
    """A value as text, where there is only one way to write it."""
    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError
    if value is None:
        raise ValueMissing("a value is null; write {{ … | default('…') }}")
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise Unrenderable("a list or an object has no text of its own; write {{ … | tojson }}")


def _in_url(value: object) -> str:
    text = _plain(value)
    if not text:
        # `DELETE /items/` may mean all of them.
        raise ValueMissing("a value of the URL is empty")
    return text if isinstance(text, _Encoded) else quote(text.encode("utf-8", "replace"), safe="")


def _in_json(value: object) -> str:
    text = _plain(value)
    if isinstance(text, _Encoded) or not isinstance(value, str):
        return text
    return json.dumps(text, ensure_ascii=False)[1:-1]


_PRINTED: Mapping[Kind, Callable[[object], str]] = {
    "url": _in_url,
    "header": _plain,
    "json": _in_json,
    "text": _plain,
}


def _spend(context: Context, amount: int) -> None:
    context[_NAME_OF_WORK].spend(amount)


@pass_context
def _steps(context: Context, value: object) -> list[Any]:
    """What a loop goes over: a list, or the names in an object."""
    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError
    if isinstance(value, Sample):
        return [value]
    if not isinstance(value, list | Mapping):
        raise Unrenderable("a loop needs a list")
    _spend(context, _STEP * len(value))
    return list(value)


@pass_context
def _tojson(context: Context, value: object) -> _Encoded:
    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    _spend(context, len(text))
    return _Encoded(text)


@pass_context
def _urlencode(context: Context, value: object) -> _Encoded:
    text = _Encoded(quote(_plain(value).encode("utf-8", "replace"), safe=""))
    _spend(context, len(text))
    return text


@pass_context
def _escape(context: Context, value: object) -> str:
    """`&`, `<` and `>` as XML, HTML and Slack want them."""
    text = escape(_plain(value), quote=False)
    _spend(context, len(text))
    return text


@pass_context
def _slug(context: Context, value: object) -> str:
    """Small letters, digits and hyphens: for systems that take no others in an id."""
    text = unicodedata.normalize("NFKD", _plain(value)).encode("ascii", "ignore").decode().lower()
    _spend(context, len(text))
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def _default(value: object, instead: object) -> object:
    """Jinja's own takes null for a value; here most facts that are not known are null."""
    return instead if value is None or isinstance(value, Undefined) else value


_FILTERS: Mapping[str, Callable[..., object]] = {
    "default": _default,
    "escape": _escape,
    "slug": _slug,
    "tojson": _tojson,
    "urlencode": _urlencode,
}
