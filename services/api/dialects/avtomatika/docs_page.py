"""The interactive documentation: one page without anything from elsewhere.

A script of its own is allowed by its hash alone; the page talks to this server only.
"""

import html
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from importlib.resources import files
from typing import Final

_TEXT: Final = files(__package__).joinpath("docs.html").read_text()
_SCRIPT: Final = _TEXT.partition("<script>")[2].partition("</script>")[0]
_STYLE: Final = _TEXT.partition("<style>")[2].partition("</style>")[0]


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
}


def page(prefix: str, endpoints: Iterable[tuple[str | None, str, str]]) -> str:
    """The page, with an entry for each blueprint's endpoint (version, endpoint, blueprint)."""
    entries = [
        _entry("POST", f"/{prefix}/{f'{version}/' if version else ''}{endpoint}", f"Run the blueprint {name}")
        for version, endpoint, name in endpoints
    ]
    return _TEXT.replace("{prefix}", html.escape(prefix)).replace("<!-- blueprints -->", "\n".join(entries))


def _entry(method: str, path: str, what: str) -> str:
    body = html.escape('{"initial_data": {}}')
    return (
        f'<details data-method="{method}" data-path="{html.escape(path)}" data-body="{body}">'
        f"<summary><b>{method}</b> <code>{html.escape(path)}</code> {html.escape(what)}</summary></details>"
    )
