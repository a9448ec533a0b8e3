"""GitHub's REST API as far as CodeB uses it, on a port of this machine: paths, fields, numbers, pages by Link, limits.

Faithful to what GitHub documents and its clients report: 404 for what a token may not see, 403 for what it may not do, 405 for
what cannot be merged, 409 for another head, 422 for what is not valid; a list has no `mergeable`, and one pull request has none
at first. Its texts are for people, so no test may depend on them. Read `calls` to see what was asked.
"""

import contextlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from codeb.drivers.pulls.memory import commit

TOKEN = "token-of-the-test"
READER = "token-that-only-reads"
ME = "codeb"
STAMP = "2026-03-01T12:00:00Z"


class Refused(Exception):
    def __init__(self, status: int, text: str, errors: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.headers = status, headers or {}
        self.body = {"message": text, "documentation_url": "https://docs.example.com/rest", "status": str(status)}
        if errors is not None:
            self.body["errors"] = errors


def invalid(said: str = "", **fault: str) -> Refused:
    """Its two forms of 422."""
    if said:
        return Refused(422, "Unprocessable Entity", [said])
    return Refused(422, "Validation Failed", [{"resource": "PullRequest", **fault}])


@dataclass
class Repo:
    name: str
    branches: dict[str, str]
    branch: str = "main"
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    reviews: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    methods: set[str] = field(default_factory=lambda: {"merge", "squash", "rebase"})
    fresh: set[int] = field(default_factory=set)
    """pull requests of which GitHub has not found out yet whether they can be merged"""
    renamed: bool = False

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]


@dataclass
class Call:
    method: str
    path: str
    query: dict[str, str]
    said: Any
    headers: Any


class Github:
    """`fail`: numbers of calls that answer 502; `cut`: whose answer is lost after the effect; `limits`: the next refusals.

    `mute`: every answer to a change is lost; `garbage`: no answer is JSON.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repo] = {}
        self.calls: list[tuple[str, str]] = []
        self.fail: set[int] = set()
        self.cut: set[int] = set()
        self.limits: list[Refused] = []
        self.garbage = self.mute = False
        self.left = 5000
        self.before: Callable[[str, str], None] = lambda method, path: None
        """told of each call before it is answered: somebody else may be quicker"""
        self.url = ""
        self.lock = threading.Lock()

    # what somebody does to it

    def make(self, name: str, *branches: str) -> Repo:
        made = Repo(name, {each: commit(f"{name} {each}") for each in ("main", *branches)})
        self.repositories[name.lower()] = made
        return made

    def push(self, name: str, branch: str, what: str) -> str:
        repo, at = self.repositories[name.lower()], commit(what)
        repo.branches[branch] = at
        for number, pull in repo.pulls.items():
            if pull["head"]["ref"] == branch and pull["state"] == "open" and pull["head"]["repo"]:
                pull["head"]["sha"] = at
                repo.fresh.add(number)
        return at

    def open(self, name: str, branch: str, author: str = "ana", **more: Any) -> int:
        repo = self.repositories[name.lower()]
        home = None if more.get("fork") else {"full_name": repo.name}
        number = max(repo.pulls, default=0) + 1
        repo.pulls[number] = {
            "id": 1000 + number, "number": number, "state": "open", "title": more.get("title", f"Change {branch}"),
            "body": more.get("text") or None, "user": {"login": author, "id": 1}, "draft": more.get("draft", False),
            "html_url": f"https://git.example.com/{repo.name}/pull/{number}",
            "head": {
                "ref": branch, "sha": repo.branches.get(branch) or commit(branch), "label": f"{repo.owner}:{branch}",
                "repo": home,
            },
            "base": {"ref": more.get("base", repo.branch), "repo": {"full_name": repo.name}},
            "created_at": STAMP, "updated_at": f"2026-03-01T12:{number % 60:02d}:00Z", "closed_at": None, "merged_at": None,
            "merge_commit_sha": commit(f"trial {number}"), "_clean": more.get("mergeable", True),
        }  # fmt: skip
        repo.fresh.add(number)
        return number

    def close(self, name: str, number: int) -> None:
        self.repositories[name.lower()].pulls[number] |= {"state": "closed", "closed_at": STAMP}

    # how it answers

    def answer(self, call: Call) -> tuple[int, Any, dict[str, str]]:
        token = str(call.headers.get("Authorization", "")).removeprefix("Bearer ")
        if not call.headers.get("User-Agent"):
            raise Refused(403, "Request forbidden by administrative rules.")
        if token not in (TOKEN, READER):
            raise Refused(401, "Bad credentials")
        if self.limits:
            raise self.limits.pop(0)
        if call.path == "/rate_limit":
            return 200, {"resources": {"core": {"limit": 5000, "remaining": self.left}}}, {}
        if call.method != "GET" and token == READER:
            raise Refused(403, "Resource not accessible by personal access token")
        found = re.fullmatch(r"/repos/([^/]+/[^/]+)(?:/(.*))?", call.path)
        repo = self.repositories.get(found[1].lower()) if found else None
        if found is None or repo is None:
            raise Refused(404, "Not Found")
        if repo.renamed:
            raise Refused(301, "Moved Permanently", headers={"Location": f"{self.url}/repositories/1/{found[2] or ''}"})
        return self._within(repo, found[2] or "", call)

    def _within(self, repo: Repo, path: str, call: Call) -> tuple[int, Any, dict[str, str]]:
        routes: tuple[tuple[str, str, Callable[..., tuple[int, Any, dict[str, str]]]], ...] = (
            ("GET", r"", self._about), ("GET", r"branches/([^/]+)", self._branch), ("GET", r"pulls", self._list),
            ("POST", r"pulls", self._make), ("GET", r"pulls/(\d+)", self._one), ("GET", r"pulls/(\d+)/reviews", self._reviews),
            ("POST", r"pulls/(\d+)/reviews", self._review), ("PUT", r"pulls/(\d+)/merge", self._merge),
        )  # fmt: skip
        for method, form, does in routes:
            if method == call.method and (found := re.fullmatch(form, path)):
                rest = [urllib.parse.unquote(each) for each in found.groups()]
                if form.startswith(r"pulls/") and int(rest[0]) not in repo.pulls:
                    raise Refused(404, "Not Found")
                return does(repo, call, *rest)
        raise Refused(404, "Not Found")

    def _about(self, repo: Repo, call: Call) -> tuple[int, Any, dict[str, str]]:
        return 200, {"id": 1, "full_name": repo.name, "default_branch": repo.branch, "private": True}, {}

    def _branch(self, repo: Repo, call: Call, name: str) -> tuple[int, Any, dict[str, str]]:
        if name not in repo.branches:
            raise Refused(404, "Branch not found")
        return 200, {"name": name, "commit": {"sha": repo.branches[name]}, "protected": False}, {}

    def _list(self, repo: Repo, call: Call) -> tuple[int, Any, dict[str, str]]:
        state, head = call.query.get("state", "open"), call.query.get("head", "")
        if state not in ("open", "closed", "all"):
            raise invalid(field="state", code="invalid")
        found = [each for each in repo.pulls.values() if state in ("all", each["state"])]
        # one without the owner is passed over
        if ":" in head:
            found = [each for each in found if each["head"]["label"] == head]
        order = "updated_at" if call.query.get("sort") == "updated" else "number"
        found.sort(key=lambda each: (each[order], each["number"]), reverse=call.query.get("direction", "desc") == "desc")
        return self._paged([_shown(each, alone=False) for each in found], call)

    def _paged(self, items: list[Any], call: Call) -> tuple[int, Any, dict[str, str]]:
        size, page = min(int(call.query.get("per_page", 30)), 100), max(int(call.query.get("page", 1)), 1)
        last = max(1, -(-len(items) // size))

        def link(number: int, name: str) -> str:
            query = urllib.parse.urlencode({**call.query, "per_page": size, "page": number})
            return f'<{self.url}{call.path}?{query}>; rel="{name}"'

        links = [link(page - 1, "prev"), link(1, "first")] if page > 1 else []
        links += [link(page + 1, "next"), link(last, "last")] if page < last else []
        return 200, items[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}

    def _one(self, repo: Repo, call: Call, number: str) -> tuple[int, Any, dict[str, str]]:
        shown = _shown(repo.pulls[int(number)], alone=True)
        if int(number) in repo.fresh:
            # it is found out because somebody asked
            repo.fresh.discard(int(number))
            shown |= {"mergeable": None, "mergeable_state": "unknown"}
        return 200, shown, {}

    def _make(self, repo: Repo, call: Call) -> tuple[int, Any, dict[str, str]]:
        said = call.said if isinstance(call.said, dict) else {}
        for name in ("title", "head", "base"):
            if not isinstance(said.get(name), str) or not said[name]:
                raise invalid(field=name, code="missing_field")
        if len(said["title"]) > 256 or len(str(said.get("body") or "")) > 65536:
            raise invalid(field="title", code="too_long")
        branch = said["head"].removeprefix(f"{repo.owner}:")
        for name, each in (("head", branch), ("base", said["base"])):
            if each not in repo.branches:
                raise invalid(field=name, code="invalid")
        label = f"{repo.owner}:{branch}"
        for each in repo.pulls.values():
            if (each["state"], each["head"]["label"], each["base"]["ref"]) == ("open", label, said["base"]):
                raise invalid(code="custom", message=f"A pull request already exists for {label}.")
        if repo.branches[branch] == repo.branches[said["base"]]:
            raise invalid(code="custom", message=f"No commits between {said['base']} and {branch}")
        number = self.open(
            repo.name, branch, ME, title=said["title"], text=said.get("body"), draft=said.get("draft", False), base=said["base"]
        )  # fmt: skip
        return 201, _shown(repo.pulls[number], alone=True), {}

    def _reviews(self, repo: Repo, call: Call, number: str) -> tuple[int, Any, dict[str, str]]:
        return self._paged(repo.reviews.get(int(number), []), call)

    def _review(self, repo: Repo, call: Call, number: str) -> tuple[int, Any, dict[str, str]]:
        pull, said = repo.pulls[int(number)], call.said
        forms = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}
        if said.get("event") not in forms:
            raise invalid("Variable $event of type PullRequestReviewEvent was provided invalid value")
        if said["event"] != "COMMENT" and pull["user"]["login"] == ME:
            raise invalid(f"Can not {said['event'].lower().replace('_', ' ')} your own pull request")
        if said["event"] != "APPROVE" and not said.get("body"):
            raise invalid("Body can not be blank")
        if said.get("commit_id") != pull["head"]["sha"]:
            raise invalid("Commit_id is not part of the pull request")
        reviews = repo.reviews.setdefault(int(number), [])
        made = {
            "id": len(reviews) + 1, "user": {"login": ME}, "body": said.get("body") or "", "state": forms[said["event"]],
            "commit_id": said["commit_id"], "html_url": f"{pull['html_url']}#pullrequestreview-{len(reviews) + 1}",
        }  # fmt: skip
        reviews.append(made)
        return 200, made, {}

    def _merge(self, repo: Repo, call: Call, number: str) -> tuple[int, Any, dict[str, str]]:
        pull, method = repo.pulls[int(number)], call.said.get("merge_method", "merge")
        if pull["state"] != "open" or not pull["_clean"]:
            raise Refused(405, "Pull Request is not mergeable")
        if pull["draft"]:
            raise Refused(405, "Pull Request is still a draft")
        if method not in repo.methods:
            raise Refused(405, f"{method} merges are not allowed on this repository.")
        if call.said.get("sha") not in (None, pull["head"]["sha"]):
            raise Refused(409, "Head branch was modified. Review and try the merge again.")
        became = commit(f"{method} {number}")
        repo.branches[pull["base"]["ref"]] = became
        # a second later, for GitHub tells no parts of one
        now = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        pull |= {"state": "closed", "closed_at": now, "merged_at": now, "merge_commit_sha": became}
        return 200, {"sha": became, "merged": True, "message": "Pull Request successfully merged"}, {}


def _shown(pull: dict[str, Any], alone: bool) -> dict[str, Any]:
    """A list says less of each."""
    shown = {name: value for name, value in pull.items() if not name.startswith("_")}
    clean = pull["_clean"] and pull["state"] == "open"
    word = "draft" if pull["draft"] else "clean" if clean else "dirty"
    more = {"merged": pull["merged_at"] is not None, "mergeable": clean, "mergeable_state": word}
    return shown | more if alone else shown


@contextlib.contextmanager
def github() -> Iterator[Github]:
    """Answers at `url` until the block ends."""
    made = Github()

    class Door(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            split = urllib.parse.urlsplit(self.path)
            query = {name: values[0] for name, values in urllib.parse.parse_qs(split.query).items()}
            headers: dict[str, str] = {}
            with made.lock:
                made.calls.append((self.command, self.path))
                at = len(made.calls)
                try:
                    if at in made.fail:
                        raise Refused(502, "Server Error")
                    made.before(self.command, split.path)
                    said = json.loads(body) if body else None
                    status, answer, headers = made.answer(Call(self.command, split.path, query, said, self.headers))
                except Refused as fault:
                    status, answer, headers = fault.status, fault.body, fault.headers
                made.left -= split.path != "/rate_limit"
            if at in made.cut or (made.mute and self.command != "GET"):
                self.close_connection = True
                return
            text = b"<html>" if made.garbage else json.dumps(answer).encode()
            self.send_response(status)
            limit = {
                "X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": str(made.left),
                "X-RateLimit-Reset": str(int(time.time()) + 900),
            }  # fmt: skip
            for name, value in {**limit, **headers, "Content-Type": "application/json", "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *said: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
