"""What the small hub of the tests holds: repositories with commits, branches and tags, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LFS_SUFFIXES = (".safetensors", ".parquet", ".png", ".jpg")


@dataclass
class Repository:
    """One repository: commits are whole folders, path -> bytes."""

    private: bool = False
    created: dict[str, Any] = field(default_factory=dict)  # what the client asked for when it created it
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    hardware: str | None = None

    def commit(self, branch: str, files: Mapping[str, bytes], message: str) -> str:
        """Put a new commit on a branch; its name."""
        name = hashlib.sha1(f"{branch} {len(self.commits)} {message}".encode()).hexdigest()
        self.commits[name] = dict(files)
        self.messages.append(message)
        self.branches[branch] = name
        return name

    def find(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit's name stands for."""
        found = self.branches.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Path -> content, without what the hub itself put there."""
        name = self.find(revision)
        assert name is not None, f"there is no {revision}"
        return {path: content for path, content in self.commits[name].items() if path != ".gitattributes"}


def file_oid(content: bytes, lfs: bool) -> str:
    """A file's name in git (of a blob) or in git-LFS."""
    if lfs:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()


def entries(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """What a folder holds, as the Hub lists it."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            inner = prefix + "/".join(parts[:depth])
            if recursive or depth == 1:
                found[inner] = {"type": "directory", "path": inner, "oid": "0" * 40, "size": 0}
        if recursive or len(parts) == 1:
            entry = {"type": "file", "path": path, "oid": file_oid(content, False), "size": len(content)}
            if path.endswith(LFS_SUFFIXES):
                entry["lfs"] = {"oid": file_oid(content, True), "size": len(content), "pointerSize": 130}
            found[path] = entry
    return list(found.values())
