"""Paths of Jupyter's contents API, and the keys of the objects that they stand for."""

from __future__ import annotations

from tornado.web import HTTPError


def checked(path: str) -> str:
    """A path without slashes at its ends or twice.

    :raises HTTPError: 404, when it leads out of the root or cannot be a key.
    """
    segments = [segment for segment in path.split("/") if segment]
    if any(segment in (".", "..") or "\0" in segment for segment in segments):
        raise HTTPError(404, f"{path!r} is outside of the contents: segments '.' and '..' are not allowed")
    return "/".join(segments)


def is_hidden(path: str) -> bool:
    """Whether a segment of a path begins with a dot."""
    return any(segment.startswith(".") for segment in path.split("/"))


def is_same_or_below(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies in it, by whole segments: ``database`` is not below ``data``."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def parent_of(path: str) -> str:
    """The folder that a path lies in; "" for the root."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last segment of a path."""
    return path.rpartition("/")[2]


def joined(folder: str, name: str) -> str:
    """The path of a name in a folder."""
    return f"{folder}/{name}" if folder else name


class Keys:
    """Which key a path stands for.

    :param prefix: of all keys; a slash is added to one that does not end in it, so that ``data`` never means ``database``.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"

    def file(self, path: str) -> str:
        """The key of a file."""
        return self.prefix + path

    def folder(self, path: str) -> str:
        """The key of a folder's marker, and what the keys below it begin with; of the root the prefix alone."""
        return f"{self.prefix}{path}/" if path else self.prefix
