"""What the small hub of the tests answers: the endpoints that the Hub's client asks for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repository import LFS_SUFFIXES, Repository, entries, file_oid

if TYPE_CHECKING:
    from hub_server import HubServer

OWNERS = {"hf_test": "me", "hf_read": "me", "hf_other": "somebody-else"}
_REPOSITORY = r"(?P<type>models|datasets|spaces)/(?P<id>[^/]+/[^/]+)"
_PLAIN = r"(?:(?P<type>datasets|spaces)/)?(?P<id>[^/]+/[^/]+?)"


class HubHandler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):  # clients are killed in these tests
            super().handle()

    def do_any(self) -> None:
        url = urlsplit(self.path)
        self.route, self.query = unquote(url.path), parse_qs(url.query)
        line = f"{self.command} {self.route}"
        with self.hub.lock:
            self.hub.requests.append(line)
            failure = next((f for f in self.hub.failures if f.times > 0 and f.where in line), None)
            if failure:
                failure.times -= 1
        body = self._body(failure.drop_after if failure else None)
        _wait(self.hub.latency)
        self.silent = failure is not None and failure.lose_answer
        if body is None:
            if failure and failure.then:
                failure.then()
            return self._hang_up()
        if failure and not failure.lose_answer:
            return self.answer(failure.text or {"error": "injected"}, failure.status or 500, failure.headers)
        with self.hub.lock:
            self.hub.received.append(body)
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            self.owner, self.may_write = OWNERS.get(token), token != "hf_read"
            if token and self.owner is None:
                return self.refuse(401, "Invalid credentials in Authorization header")
            for method, pattern, function in _ROUTES:
                match = re.fullmatch(pattern, self.route)
                if match and self.command in method:
                    self.body = body
                    if "id" in match.groupdict():
                        return self._on_repository(function, match)
                    return function(self, **match.groupdict())
        return self.refuse(404, "Sorry, we can't find the page you are looking for.")

    do_GET = do_HEAD = do_POST = do_PUT = do_any  # noqa: N815  the standard library's names

    def _body(self, drop_after: int | None) -> bytes | None:
        """The request's body; None if it came to a stop."""
        length = int(self.headers.get("Content-Length") or 0)
        parts, left = [], length if drop_after is None else min(drop_after, length)
        while left > 0:
            part = self.rfile.read(min(left, 65536))
            if not part:
                return None
            parts.append(part)
            left -= len(part)
            _wait(self.hub.pause)
        return None if drop_after is not None else b"".join(parts)

    def answer(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        if self.silent:
            return self._hang_up()
        is_json = not isinstance(content, bytes | str)
        data = json.dumps(content).encode() if is_json else content if isinstance(content, bytes) else content.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if is_json else "text/html")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def refuse(self, status: int, message: str, code: str = "") -> None:
        self.answer(
            {"error": message}, status, {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        )

    def _on_repository(self, function: Any, match: re.Match[str]) -> None:
        kind = (match["type"] or "models").removesuffix("s")
        repository = self.hub.repositories.get((kind, match["id"]))
        mine = match["id"].split("/")[0] == self.owner
        if repository is None or repository.private and not mine:
            return self.refuse(401 if self.owner is None else 404, "Repository not found", "RepoNotFound")
        if self.command in ("POST", "PUT") and not (mine and self.may_write):
            return self.refuse(403, "You don't have the rights to write to this repository")
        rest = {name: value for name, value in match.groupdict().items() if name not in ("type", "id")}
        return function(self, repository=repository, kind=kind, name=match["id"], **rest)

    def whoami(self) -> None:
        if self.owner is None:
            return self.refuse(401, "Invalid username or password.")
        return self.answer({"type": "user", "name": self.owner, "orgs": [], "auth": {"type": "access_token"}})

    def create(self) -> None:
        asked = json.loads(self.body)
        kind, name = asked.get("type") or "model", f"{asked.get('organization') or self.owner}/{asked['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        url = {"url": f"{self.hub.endpoint}/{prefix}{name}", "name": name}
        if self.owner is None:
            return self.refuse(401, "Invalid username or password.")
        if name.split("/")[0] != self.owner or not self.may_write:
            return self.refuse(403, f"You don't have the rights to create a {kind} under this namespace")
        if (kind, name) in self.hub.repositories:
            return self.answer(url | {"error": f"You already created this {kind} repo"}, 409)
        self.hub.add(name, kind, asked.get("visibility") == "private", asked)
        return self.answer(url)

    def validate_card(self) -> None:
        import yaml

        match = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        try:
            data = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            return self.answer({"errors": [{"message": f"YAML: {error}"}], "warnings": []}, 400)
        if "license" in data and not isinstance(data["license"], str | list):
            return self.answer({"errors": [{"message": '"license" must be a string'}], "warnings": []}, 400)
        return self.answer({"errors": [], "warnings": []})

    def preupload(self, repository: Repository, revision: str, **_: str) -> None:
        commit = repository.find(revision)
        if commit is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        stored = repository.commits[commit]
        files = []
        for one in json.loads(self.body)["files"]:
            path = one["path"]
            lfs = path.endswith(LFS_SUFFIXES)
            oid = file_oid(stored[path], lfs) if path in stored else None
            mode = "lfs" if lfs else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.answer({"files": files})

    def lfs_batch(self, **_: Any) -> None:
        objects = json.loads(self.body)["objects"]
        for one in objects:
            if one["oid"] not in self.hub.lfs:
                # Another host name, as on the Hub: the client must not send its token there.
                one["actions"] = {"upload": {"href": f"http://localhost:{self.hub.port}/lfs/{one['oid']}"}}
        return self.answer({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.refuse(400, "The content does not have this name")
        self.hub.lfs[oid] = self.body
        return self.answer(b"")

    def lfs_get(self, oid: str) -> None:
        return self._send_file(self.hub.lfs[oid], {})

    def commit(self, repository: Repository, kind: str, name: str, revision: str) -> None:
        if self.hub.before_commit:
            self.hub.before_commit(repository)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        head = repository.branches.get(revision)
        if head is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if header.get("parentCommit") not in (None, head):
            return self.refuse(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    return self.refuse(400, f"{value['path']} was not uploaded")
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif files.pop(value["path"], None) is None:
                return self.refuse(404, "A file with this name doesn't exist", "EntryNotFound")
        oid = repository.commit(revision, files, header["summary"])
        return self.answer(
            {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{name}/commit/{oid}"}
        )

    def branch(self, repository: Repository, revision: str, **_: str) -> None:
        if revision in repository.branches:
            return self.refuse(409, "Reference already exists")
        repository.branches[revision] = repository.branches["main"]
        return self.answer({})

    def tag(self, repository: Repository, revision: str, **_: str) -> None:
        tag, commit = json.loads(self.body)["tag"], repository.find(revision)
        if tag in repository.tags:
            return self.refuse(409, "Tag already exists")
        if commit is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        repository.tags[tag] = commit
        return self.answer({})

    def set_hardware(self, repository: Repository, **_: str) -> None:
        repository.hardware = json.loads(self.body)["flavor"]
        return self.answer({"stage": "BUILDING", "hardware": {"requested": repository.hardware}})

    def refs(self, repository: Repository, **_: str) -> None:
        listed = {
            kind: [{"name": n, "ref": f"refs/{part}/{n}", "targetCommit": commit} for n, commit in names.items()]
            for kind, part, names in (("branches", "heads", repository.branches), ("tags", "tags", repository.tags))
        }
        return self.answer({**listed, "converts": []})

    def _commit_of(self, repository: Repository, revision: str | None) -> str | None:
        commit = repository.find(revision or "main")
        if commit is None:
            self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def info(self, repository: Repository, name: str, revision: str | None = None, **_: str) -> None:
        if commit := self._commit_of(repository, revision):
            siblings = [{"rfilename": path} for path in repository.commits[commit]]
            self.answer({"id": name, "sha": commit, "private": repository.private, "siblings": siblings, "tags": []})

    def tree(self, repository: Repository, revision: str, path: str | None = None, **_: str) -> None:
        if commit := self._commit_of(repository, revision):
            listed = entries(repository.commits[commit], path or "", "recursive" in self.query)
            if path and not listed:
                return self.refuse(404, f"{path} does not exist", "EntryNotFound")
            self.answer(listed)

    def paths_info(self, repository: Repository, revision: str, **_: str) -> None:
        if commit := self._commit_of(repository, revision):
            asked = (
                json.loads(self.body)["paths"] if self.body.startswith(b"{") else parse_qs(self.body.decode())["paths"]
            )
            everything = entries(repository.commits[commit], "", True)
            self.answer([entry for entry in everything if entry["path"] in asked])

    def resolve(self, repository: Repository, revision: str, path: str, **_: str) -> None:
        commit = self._commit_of(repository, revision)
        if commit is None:
            return None
        headers = {"X-Repo-Commit": commit}
        content = repository.commits[commit].get(path)
        if content is None:
            return self.answer(
                b"", 404, headers | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no such file"}
            )
        headers |= {"ETag": f'"{file_oid(content, False)}"'}
        if not path.endswith(LFS_SUFFIXES):
            return self._send_file(content, headers)
        oid = file_oid(content, True)
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        return self.answer(b"", 302, headers | {"Location": f"http://localhost:{self.hub.port}/lfs/{oid}"})

    def _send_file(self, content: bytes, headers: dict[str, str]) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not match:
            return self.answer(content, 200, headers | {"Content-Length": str(len(content))})
        start, end = int(match[1]), int(match[2] or len(content) - 1)
        part = content[start : end + 1]
        return self.answer(part, 206, headers | {"Content-Range": f"bytes {start}-{end}/{len(content)}"})


_ROUTES = [
    (("GET",), "/api/whoami-v2", HubHandler.whoami),
    (("POST",), "/api/repos/create", HubHandler.create),
    (("POST",), "/api/validate-yaml", HubHandler.validate_card),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", HubHandler.lfs_put),
    (("GET", "HEAD"), "/lfs/(?P<oid>[0-9a-f]{64})", HubHandler.lfs_get),
    (("POST",), f"/{_PLAIN}\\.git/info/lfs/objects/batch", HubHandler.lfs_batch),
    (("POST",), f"/api/{_REPOSITORY}/preupload/(?P<revision>.+)", HubHandler.preupload),
    (("POST",), f"/api/{_REPOSITORY}/commit/(?P<revision>.+)", HubHandler.commit),
    (("POST",), f"/api/{_REPOSITORY}/branch/(?P<revision>.+)", HubHandler.branch),
    (("POST",), f"/api/{_REPOSITORY}/tag/(?P<revision>.+)", HubHandler.tag),
    (("POST",), f"/api/{_REPOSITORY}/hardware", HubHandler.set_hardware),
    (("POST",), f"/api/{_REPOSITORY}/paths-info/(?P<revision>[^/]+)", HubHandler.paths_info),
    (("GET",), f"/api/{_REPOSITORY}/refs", HubHandler.refs),
    (("GET",), f"/api/{_REPOSITORY}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", HubHandler.tree),
    (("GET",), f"/api/{_REPOSITORY}(?:/revision/(?P<revision>.+))?", HubHandler.info),
    (("GET", "HEAD"), f"/{_PLAIN}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", HubHandler.resolve),
]


def _wait(seconds: float) -> None:
    """Not `time.sleep`, which tests of a client's patience replace."""
    if seconds:
        threading.Event().wait(seconds)
