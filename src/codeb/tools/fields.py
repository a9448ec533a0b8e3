"""The fields callers fill in, as strict types: one place for their grammar, their words and their JSON schema."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel

from codeb.model import envs, grammar, pulls, refs, source, work, workflow


class Wire(BaseModel):
    """A value that crosses the wire in camelCase; nothing is coerced."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        strict=True,
        extra="forbid",
        ser_json_inf_nan="null",
    )


class Params(Wire):
    """What a caller may say. Unknown fields are refused, never ignored."""


SECRET: dict[str, Any] = {"writeOnly": True}
"""`json_schema_extra` of a field whose value is a secret: the gate keeps it out of the audit log"""


class Result(Wire):
    """What a tool answers."""


UNTRUSTED: dict[str, Any] = {"x-untrusted": True}
"""`json_schema_extra` of a field of a result that holds text which others wrote (logs, titles, branch names, commit messages):
every answer names such fields in `untrusted`, and assistants are shown them as data. Never part of `summary` or `next` (S25)."""
Untrusted = Annotated[str, Field(json_schema_extra=UNTRUSTED)]


MOST_CONTENT = 10 * 2**20
NOWHERE = "none"
"""in place of a repository: there is none"""


def _little(files: dict[str, str | None]) -> dict[str, str | None]:
    if sum(len(text or "") for text in files.values()) > source.MOST_OF_A_TREE:
        raise ValueError(f"the texts are at most {source.MOST_OF_A_TREE} characters together")
    return files


def _variables(values: dict[str, str]) -> dict[str, str]:
    """Says which one by its place where its name is none: that may be a value."""
    for number, (name, text) in enumerate(values.items(), 1):
        where = f"the name of variable {number}"
        try:
            envs.key(name)
            where = name
            envs.value(text)
        except ValueError as fault:
            raise ValueError(f"{where}: {fault}") from None
    envs.whole(values)
    return values


def _which(said: Any) -> str:
    """A number may be said as one. One fault for whatever else it is."""
    text = str(said) if type(said) in (int, str) else ""
    envs.which(text)
    return text


def _lock_span(text: str) -> str:
    work.lock_span(text)
    return text


ProjectName = Annotated[
    str,
    AfterValidator(grammar.project_name),
    Field(
        description="the project: lower-case letters, digits, single hyphens; capitals and '_' are folded",
        max_length=64,
        examples=["shop"],
    ),
]
Environment = Annotated[
    str,
    AfterValidator(grammar.environment),
    Field(description="production, staging, preview or pr-<number>", max_length=32, examples=["production"]),
]
Version = Annotated[
    str, AfterValidator(grammar.version), Field(description="the version, as a tag", max_length=128, examples=["1.4.2"])
]
ImageRef = Annotated[
    str,
    AfterValidator(grammar.image),
    Field(description="an OCI image reference", max_length=255, examples=["127.0.0.1:5000/shop:1.4.2"]),
]
HealthPath = Annotated[
    str,
    AfterValidator(grammar.health_path),
    Field(description="the path that answers 2xx or 3xx when healthy", max_length=1024, examples=["/health"]),
]
Repository = Annotated[
    str,
    AfterValidator(grammar.repository),
    Field(description="a repository, without the image registry's address", max_length=200, examples=["shop"]),
]
ImageTag = Annotated[str, AfterValidator(grammar.tag), Field(description="a tag of it", max_length=128, examples=["1.4.2"])]
ImageDigest = Annotated[
    str,
    AfterValidator(grammar.image_digest),
    Field(description="a digest, as registry_tags shows it", max_length=71, examples=["sha256:" + "0" * 64]),
]
Container = Annotated[
    str,
    AfterValidator(grammar.container),
    Field(description="a container of this server, by its name or id, as `docker ps` shows it", max_length=128, examples=["web"]),
]
OperationId = Annotated[
    str,
    AfterValidator(grammar.operation_id),
    Field(description="an operation, as deploy or operation_list names it", max_length=64),
]
EventId = Annotated[
    str,
    AfterValidator(grammar.event_id),
    Field(description="an event, as event_list names it", max_length=64),
]
ConflictId = Annotated[
    str,
    AfterValidator(grammar.conflict_id),
    Field(description="a conflict, as conflict_list names it", max_length=64, examples=["cf_0123456789abcdef0123456789ab"]),
]
ApprovalId = Annotated[
    str,
    AfterValidator(grammar.approval_id),
    Field(description="an approval, as approval_list names it", max_length=64, examples=["ap_0123456789abcdef"]),
]
PlanId = Annotated[
    str,
    AfterValidator(grammar.plan_id),
    Field(description="the planId of a dry run: refused when the state moved since", max_length=64),
]
IdempotencyKey = Annotated[
    str,
    AfterValidator(grammar.idempotency_key),
    Field(description="the same key and body have one effect and one answer", max_length=128),
]
Since = Annotated[
    str,
    AfterValidator(grammar.since),
    Field(description="RFC 3339, or a span back from now: 30s, 10m, 2h, 1d", max_length=64, examples=["10m"]),
]
Reason = Annotated[
    str,
    AfterValidator(lambda text: grammar.free_text(text, 2000)),
    Field(description="why, for the record", max_length=2000),
]
Search = Annotated[
    str,
    AfterValidator(lambda text: grammar.free_text(text, 4096)),
    Field(description="only lines that contain this literal text", max_length=4096),
]

TeamId = Annotated[
    str,
    AfterValidator(grammar.team_id),
    Field(
        description="the team: lower-case letters, digits, single hyphens; capitals and '_' are folded",
        max_length=64,
        examples=["main"],
    ),
]
MemberName = Annotated[
    str,
    AfterValidator(grammar.member_name),
    Field(
        description="the member: letters, digits, '.', '_', '@', '+', '-'; capitals are folded",
        max_length=64,
        examples=["ana@example.com"],
    ),
]
KeyId = Annotated[
    str,
    AfterValidator(grammar.key_id),
    Field(description="a key, as token_list names it", max_length=64, examples=["key_0123456789abcdef0123456789ab"]),
]
ToolName = Annotated[str, AfterValidator(grammar.tool_name), Field(description="a tool, as GET /api lists it", max_length=100)]
Expiry = Annotated[
    str,
    AfterValidator(grammar.expiry),
    Field(description="RFC 3339, or a span from now: 12h, 90d", max_length=64, examples=["90d"]),
]
Title = Annotated[
    str,
    AfterValidator(lambda text: grammar.free_text(text, 100)),
    Field(description="a name for people", max_length=100),
]

EnvKey = Annotated[
    str,
    AfterValidator(envs.key),
    Field(description="a variable: letters, digits, '_'; CODEB_* are CodeB's own", max_length=128, examples=["LOG_LEVEL"]),
]
EnvValues = Annotated[
    dict[str, str],
    AfterValidator(_variables),
    Field(
        description="variables and their values, kept byte for byte", json_schema_extra=SECRET, examples=[{"LOG_LEVEL": "info"}]
    ),
]
EnvContent = Annotated[
    str,
    Field(
        description="a whole .env file: KEY=VALUE lines, values in quotes where they have to be", max_length=MOST_CONTENT,
        json_schema_extra=SECRET,
    ),
]  # fmt: skip
EnvWhich = Annotated[
    str,
    PlainValidator(_which, json_schema_input_type=str | Annotated[int, Field(ge=1, le=999_999_999)]),
    Field(description="a version: its number, a moment (the version in force then), or master (the first one)", examples=["3"]),
]
TreeFiles = Annotated[
    dict[Annotated[str, AfterValidator(grammar.tree_path)], Annotated[str, Field(max_length=source.MOST_OF_A_FILE)] | None],
    AfterValidator(_little),
    Field(
        description="every file of a source tree by its path; its text where that tells something, else null",
        min_length=1, max_length=source.MOST_FILES, json_schema_extra=SECRET,
        examples=[{"Dockerfile": "FROM scratch\nEXPOSE 8080\n", "README.md": None}],
    ),
]  # fmt: skip
"""no secret by itself, but a file may hold one: the gate keeps it out of the audit log"""
DomainName = Annotated[
    str,
    AfterValidator(lambda text: grammar.domain(text, "localhost")),
    Field(description="a domain name: lower-case labels, no final dot", max_length=253, examples=["shop.example.com"]),
]
ServerName = Annotated[
    str,
    AfterValidator(grammar.server_name),
    Field(description="a server, as server_list names it", max_length=64, examples=["local"]),
]
ServerAddress = Annotated[
    str,
    AfterValidator(grammar.address),
    Field(description="an IPv4 or IPv6 address", max_length=64, examples=["192.0.2.7"]),
]
DockerHost = Annotated[
    str,
    AfterValidator(grammar.docker_host),
    Field(description="unix:///path or tcp://address:port", max_length=256, examples=["tcp://192.0.2.7:2375"]),
]
Cidr = Annotated[
    str,
    AfterValidator(grammar.cidr),
    Field(description="a network, host bits zero", max_length=64, examples=["192.0.2.0/24"]),
]
Purpose = Annotated[
    str,
    AfterValidator(grammar.purpose),
    Field(description="what it is for, in a word: lower-case letters, digits, hyphens", max_length=64, examples=["database"]),
]

Branch = Annotated[
    str, AfterValidator(refs.branch), Field(description="a branch of the repository", max_length=200, examples=["feature/pay"])
]
GitRepository = Annotated[
    str,
    AfterValidator(lambda text: text if text == NOWHERE else pulls.repository(text)),
    Field(description="a repository at GitHub, owner/name; none: there is none", max_length=140, examples=["acme/shop"]),
]
PullRequest = Annotated[int, Field(ge=1, le=pulls.MOST_NUMBER, description="a pull request, by its number", examples=[12])]
PullText = Annotated[
    str,
    AfterValidator(lambda text: refs.prose(text, 20_000)),
    Field(description="more about it, in Markdown", max_length=20_000),
]
Commit = Annotated[
    str,
    AfterValidator(pulls.commit),
    Field(description="the commit that you saw its branch at: sha of pr_list", max_length=64, examples=["0" * 40]),
]
FilePath = Annotated[str, AfterValidator(refs.file_path), Field(max_length=refs.MOST_BYTES)]
TaskId = Annotated[
    str,
    AfterValidator(refs.task_id),
    Field(description="a task, as task_list names it", max_length=64, examples=["task_0123456789abcdef0123456789ab"]),
]
TaskTitle = Annotated[
    str,
    AfterValidator(lambda text: refs.heading(text, 200)),
    Field(description="what is to be done, in one line", max_length=200, examples=["Pay by invoice"]),
]
TaskText = Annotated[
    str,
    AfterValidator(lambda text: refs.prose(text, 4000)),
    Field(description="more about it", max_length=4000),
]
LockSpan = Annotated[
    str,
    AfterValidator(_lock_span),
    Field(description="how long its files are held, from now: 1m to 7d", max_length=16, examples=["8h"]),
]
CommitMessage = Annotated[
    str,
    AfterValidator(lambda text: grammar.free_text(text, 65_536)),
    Field(
        description="a commit message: every task_… id in it is meant", max_length=65_536,
        json_schema_extra={"contentMediaType": "text/plain"},
    ),
]  # fmt: skip

RunnerLabel = Annotated[
    str, AfterValidator(workflow.label), Field(description="a label of the runner", max_length=100, examples=["self-hosted"])
]
BuildContext = Annotated[
    str,
    AfterValidator(grammar.tree_path),
    Field(description="the folder with the Dockerfile, below the root of the repository", max_length=511, examples=["apps/web"]),
]
ServerUrl = Annotated[
    str,
    AfterValidator(workflow.url),
    Field(description="an address of a server", max_length=512, examples=["https://codeb.example.com"]),
]
S3Bucket = Annotated[str, AfterValidator(workflow.bucket), Field(description="a bucket", max_length=63, examples=["build-cache"])]
S3Region = Annotated[
    str, AfterValidator(workflow.region), Field(description="a region of S3", max_length=64, examples=["us-east-1"])
]

RoleName = Literal["viewer", "member", "admin", "owner"]
ApprovalName = Literal["none", "name", "human"]
ServerRoleName = Literal["app", "storage", "dns", "streaming", "backup"]
TransportName = Literal["tcp", "udp"]
SlotName = Literal["blue", "green"]
Port = Annotated[int, Field(ge=1, le=65535, description="a TCP port")]
Limit = Annotated[int, Field(ge=1, le=1000, description="at most this many rows")]
ProjectType = Literal["nextjs", "remix", "nodejs", "python", "go", "docker"]


CONFIRM = "the name of what it acts on, typed once more where a policy asks for it"


class Guarded(Params):
    """Fields of a tool that only reads, and of which a call may be risky all the same."""

    dry_run: bool = Field(False, description="return what would be shown, without showing it")
    plan_id: PlanId | None = None
    confirm: str = Field("", max_length=64, description=CONFIRM)


class Changing(Params):
    """Fields of every tool that changes something."""

    dry_run: bool = Field(False, description="return the plan and change nothing")
    plan_id: PlanId | None = None
    idempotency_key: IdempotencyKey | None = None


class Confirmed(Changing):
    """Field of every tool of which a call may be risky."""

    confirm: str = Field("", max_length=64, description=CONFIRM)


class Long(Changing):
    """Fields of every tool that runs as an operation."""

    wait: bool = Field(True, description="wait for the end; false returns the operationId at once")


class OnEnvironment(Params):
    """Fields of every tool about one environment of one project."""

    project_name: ProjectName
    environment: Environment = "production"


def in_production(params: OnEnvironment) -> bool:
    return params.environment == "production"
