"""The one place where what a file holds becomes markup: after everything that could run, load or deceive was taken out."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_NAMES = (
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li "
    "mark ol p pre q s samp small span strike strong sub summary sup table tbody td tfoot th thead tr tt u ul var"
)
_TAGS = frozenset(_NAMES.split())
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "ol": {"start"},
}
# All that follows them is taken out with them.
_NOT_EVEN_TEXT = {"script", "style", "template", "iframe", "object", "svg", "math", "noscript", "title"}
_SCHEMES = {"http", "https", "mailto", "data"}
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)


def sanitised(html: str) -> Markup:
    """HTML of which only text, tables, links and embedded pictures are left; links open a page of their own."""
    import nh3

    return Markup(
        nh3.clean(
            html,
            tags=set(_TAGS),
            clean_content_tags=_NOT_EVEN_TEXT,
            attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
            attribute_filter=_kept,
            url_schemes=_SCHEMES,
            url_relative="deny",
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
        )
    )


def of_markdown(text: str) -> Markup:
    """Markdown as such HTML."""
    return sanitised(_markdown().render(text))


def _kept(tag: str, name: str, value: str) -> str | None:
    """The value of an attribute; None takes it out."""
    if name == "src":
        return value if _PICTURE.fullmatch(value) else None
    if name == "href" and value.strip().lower().startswith("data:"):
        return None
    return value


@functools.cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")
