"""The grammar of every field a caller can fill in: pure functions, linear time, whole match, ASCII unless said.

Each function returns the value to keep or raises `ValueError` with a sentence for a person.
Source of every rule: the table "Field grammar" of the product's promises.
"""

import ipaddress
import re

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
TAG = VERSION
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
REPOSITORY_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
REGISTRY_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(?::[0-9]{1,5})?"
)
HEALTH_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,1023}")
IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,128}")
CORRELATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
OPERATION_ID = re.compile(r"op_[0-9a-z]{8,40}")
CONFLICT_ID = re.compile(r"cf_[0-9a-f]{28}")
APPROVAL_ID = re.compile(r"ap_[0-9a-z]{8,40}")
EVENT_ID = re.compile(r"ev_[0-9a-z]{8,40}")
KEY_ID = re.compile(r"key_[0-9a-z]{1,40}")
CALLER_ID = re.compile(r"(?:key|development)_[0-9a-z]{1,40}|timer|watch")
MEMBER_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
TREE_PATH = re.compile(r"[A-Za-z0-9._@+/~-]{1,511}")
NETWORK = re.compile(r"[0-9a-f:.]{2,45}/[0-9]{1,3}")
PURPOSE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
DOCKER_HOST = re.compile(r"unix://(/[A-Za-z0-9._/-]{1,200})|tcp://(\[[0-9a-f:]{2,45}\]|[0-9.]{7,15}):([1-9][0-9]{0,4})")
TOOL_NAME = re.compile(r"[a-z]{1,40}(?:_[a-z]{1,40})?")
PLAN_ID = re.compile(r"plan_[0-9a-f]{32}")
DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")

ENVIRONMENTS = ("production", "staging", "preview")
PULL_REQUEST = re.compile(r"pr-[1-9][0-9]{0,8}")
RESERVED_ENDINGS = re.compile(r"-(?:production|staging|preview|blue|green|pr-[0-9]+)")


def project_name(text: str) -> str:
    """Fold capitals and underscores (`My_App` -> `my-app`), then hold the name to the grammar.

    A name may not end in a word that host and container names are built from, so that such a name always
    parses back to exactly one project, environment and slot.
    """
    if not text.isascii():
        raise ValueError("a project name is ASCII: lower-case letters, digits and single hyphens")
    name = text.lower().replace("_", "-")
    if not NAME.fullmatch(name) or "--" in name:
        raise ValueError(
            "a project name is 1 to 40 characters, lower-case letters, digits and single hyphens, starting with a letter"
        )
    ending = _reserved_ending(name)
    if ending:
        raise ValueError(f"a project name may not end in '{ending}': container and host names are built from it")
    return name


def _reserved_ending(name: str) -> str | None:
    for word in ("-production", "-staging", "-preview", "-blue", "-green"):
        if name.endswith(word):
            return word
    head, sep, number = name.rpartition("-pr-")
    if head and sep and number.isdigit():
        return f"-pr-{number}"
    return None


def team_id(text: str) -> str:
    """Folded like a project's name, so that it never contains the `_` that separates the parts of a key."""
    name = text.lower().replace("_", "-") if text.isascii() else ""
    if not NAME.fullmatch(name) or "--" in name:
        raise ValueError("a team id is 1 to 40 lower-case letters, digits and single hyphens, starting with a letter")
    return name


def member_name(text: str) -> str:
    """What a person is called in a team, an e-mail address if they like; capitals are folded."""
    name = text.lower() if text.isascii() else ""
    if not MEMBER_NAME.fullmatch(name):
        raise ValueError("a member's name is 1 to 64 letters, digits, '.', '_', '@', '+', '-', starting with a letter or digit")
    return name


def key_id(text: str) -> str:
    if not KEY_ID.fullmatch(text):
        raise ValueError("a key's id looks like key_… as `token_list` gives it")
    return text


def tool_name(text: str) -> str:
    if not TOOL_NAME.fullmatch(text):
        raise ValueError("a tool looks like slot_status, as `GET /api` lists them")
    return text


def expiry(text: str) -> str:
    """RFC 3339 (`2026-12-31T00:00:00Z`) or a span from now (`12h`, `90d`)."""
    if not (DURATION.fullmatch(text) or RFC3339.fullmatch(text)):
        raise ValueError("an end is RFC 3339 (2026-12-31T00:00:00Z) or a span such as 12h, 90d")
    return text


def environment(text: str) -> str:
    if text in ENVIRONMENTS or PULL_REQUEST.fullmatch(text):
        return text
    raise ValueError("an environment is production, staging, preview or pr-<number>")


def version(text: str) -> str:
    if not VERSION.fullmatch(text) or ".." in text:
        raise ValueError("a version is up to 128 letters, digits, '_', '.', '-', without '..', not starting with '.' or '-'")
    return text


def image(text: str) -> str:
    """An OCI reference `[host[:port]/]repository[:tag][@sha256:...]`, at most 255 characters."""
    fault = ValueError("an image is an OCI reference of at most 255 characters, such as 127.0.0.1:5000/shop:1.4.2")
    if not text or len(text) > 255 or not text.isascii():
        raise fault
    name, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise fault
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        if not REGISTRY_HOST.fullmatch(head):
            raise fault
        name = rest
    repository, colon, tag = name.partition(":")
    if colon and not TAG.fullmatch(tag):
        raise fault
    if not all(REPOSITORY_PART.fullmatch(part) for part in repository.split("/")):
        raise fault
    return text


CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


def container(text: str) -> str:
    """A container's name or id, as the runtime has it."""
    if not CONTAINER.fullmatch(text):
        raise ValueError(
            "a container is its name or id: 1 to 128 letters, digits, '_', '.', '-', starting with a letter or digit"
        )
    return text


def image_tag(reference: str) -> str | None:
    """The tag of a valid reference, or None when it has none."""
    last = reference.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2] or None


def image_host(reference: str) -> str | None:
    """The image registry a valid reference names, or None when it names none."""
    head, slash, _ = reference.partition("/")
    return head if slash and ("." in head or ":" in head or head == "localhost") else None


def health_path(text: str) -> str:
    if not HEALTH_PATH.fullmatch(text) or "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise ValueError("a health path starts with '/', has letters, digits, '.', '_', '~', '-', no '//' and no dot segments")
    return text


def domain(text: str, base: str) -> str:
    """A DNS name we may serve; `.localhost` only below `base` when that is what `base` is."""
    fault = ValueError("a domain is lower-case labels of letters, digits and hyphens, at least two, ending in a real TLD")
    labels = text.split(".")
    if len(text) > 253 or len(labels) < 2 or not all(LABEL.fullmatch(part) for part in labels):
        raise fault
    top = labels[-1]
    if top == "localhost":
        if base.rpartition(".")[2] != "localhost":
            raise fault
        return text
    if top in ("local", "internal", "arpa") or not (re.fullmatch(r"[a-z]{2,}", top) or top.startswith("xn--")):
        raise fault
    return text


def tree_path(text: str) -> str:
    """A file below some folder: relative, canonical."""
    parts = text.split("/")
    plain = TREE_PATH.fullmatch(text) and not any(part in ("", ".", "..") or len(part) > 255 for part in parts)
    if not plain or text[0] in "-~":
        raise ValueError(
            "a path is relative and canonical: letters, digits, '.', '_', '@', '+', '~', '-' in parts between '/', "
            "not starting with '-' or '~'"
        )
    return text


def server_name(text: str) -> str:
    """Held to the grammar of a project's name, and never folded: it stands in configuration."""
    if not NAME.fullmatch(text) or "--" in text:
        raise ValueError("a server is 1 to 40 lower-case letters, digits and single hyphens, starting with a letter")
    return text


def address(text: str) -> str:
    """One IPv4 or IPv6 address as it is written canonically, of one machine."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None or str(found) != text or "%" in text or found.is_unspecified or found.is_multicast:
        raise ValueError("an address is IPv4 or IPv6, canonical, of one machine, such as 192.0.2.7 or 2001:db8::7")
    return text


def cidr(text: str) -> str:
    """A network as it is written canonically: lower case, host bits zero, always with its length."""
    fault = ValueError("a network is canonical, host bits zero, such as 192.0.2.0/24, 192.0.2.7/32 or 2001:db8::/64")
    if not NETWORK.fullmatch(text):
        raise fault
    try:
        found = ipaddress.ip_network(text, strict=True)
    except ValueError:
        raise fault from None
    # how an IPv4 network inside IPv6 is written differs from one version of Python to the next
    if str(found) != text or getattr(found.network_address, "ipv4_mapped", None) is not None:
        raise fault
    return text


def purpose(text: str) -> str:
    if not PURPOSE.fullmatch(text):
        raise ValueError("a purpose is 1 to 40 lower-case letters, digits and hyphens, such as database")
    return text


def docker_host(text: str) -> str:
    match = DOCKER_HOST.fullmatch(text)
    fault = ValueError("a Docker host is unix:///path or tcp://address:port")
    if not match:
        raise fault
    if match[1]:
        if "//" in match[1] or any(part in (".", "..") for part in match[1].split("/")):
            raise fault
        return text
    address(match[2].strip("[]"))
    if int(match[3]) > 65535:
        raise fault
    return text


def idempotency_key(text: str) -> str:
    if not IDEMPOTENCY_KEY.fullmatch(text):
        raise ValueError("an idempotency key is 1 to 128 printable ASCII characters without spaces")
    return text


def operation_id(text: str) -> str:
    if not OPERATION_ID.fullmatch(text):
        raise ValueError("an operation id looks like op_… as `deploy` and `operation_list` give it")
    return text


def event_id(text: str) -> str:
    if not EVENT_ID.fullmatch(text):
        raise ValueError("an event id looks like ev_… as `event_list` gives it")
    return text


def approval_id(text: str) -> str:
    if not APPROVAL_ID.fullmatch(text):
        raise ValueError("an approval id looks like ap_… as `approval_list` gives it")
    return text


def conflict_id(text: str) -> str:
    if not CONFLICT_ID.fullmatch(text):
        raise ValueError("a conflict id looks like cf_… as `conflict_list` gives it")
    return text


def caller_id(text: str) -> str:
    """Whoever the audit log names: a key's id, never the key itself, or what CodeB does of itself."""
    if not CALLER_ID.fullmatch(text):
        raise ValueError("a caller looks like key_… as the audit log and token_list give it, or is timer or watch")
    return text


def correlation_id(text: str) -> str:
    if not CORRELATION_ID.fullmatch(text):
        raise ValueError("a correlation id is 1 to 64 letters, digits, '.', '_' or '-', as answers carry it")
    return text


def plan_id(text: str) -> str:
    if not PLAN_ID.fullmatch(text):
        raise ValueError("a plan id looks like plan_… as a dry run gives it")
    return text


def free_text(text: str, limit: int) -> str:
    """Unicode for people (a reason, a search word): no NUL, no lone surrogate, at most `limit` characters."""
    if len(text) > limit:
        raise ValueError(f"at most {limit} characters")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("no NUL character and no lone surrogates")
    return text


def since(text: str) -> str:
    """RFC 3339 (`2026-01-31T10:00:00Z`) or a span back from now (`10m`, `2h`)."""
    if not (DURATION.fullmatch(text) or RFC3339.fullmatch(text)):
        raise ValueError("a time is RFC 3339 (2026-01-31T10:00:00Z) or a span such as 30s, 10m, 2h, 1d")
    return text


def repository(text: str) -> str:
    """A repository of the image registry, without the registry's address: lower-case parts between slashes."""
    if not text.isascii() or len(text) > 200 or not all(REPOSITORY_PART.fullmatch(part) for part in text.split("/")):
        raise ValueError(
            "a repository is lower-case letters, digits, '.', '_', '-' in parts between '/', such as shop or shop/web"
        )
    return text


def tag(text: str) -> str:
    if not TAG.fullmatch(text):
        raise ValueError("a tag is up to 128 letters, digits, '_', '.', '-', not starting with '.' or '-'")
    return text


def image_digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise ValueError("a digest is sha256: and 64 lower-case hex digits")
    return text


def image_path(reference: str) -> str:
    """The repository of a valid reference as its image registry knows it: without host, tag and digest."""
    host, name = image_host(reference), reference.partition("@")[0]
    path = name.removeprefix(f"{host}/") if host else name
    head, slash, last = path.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
