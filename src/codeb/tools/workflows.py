"""Workflows: what a source tree is and lacks to be deployed from, and the files by which GitHub deploys it on a push."""

from typing import Any, Literal

from pydantic import Field

from codeb.errors import InvalidParams
from codeb.model import source, workflow
from codeb.model.access import Role
from codeb.model.previews import HOURS, MOST_HOURS
from codeb.model.source import Fact, Portrait
from codeb.tools import fields
from codeb.tools.call import Call
from codeb.tools.tool import NextCall, Outcome, Risk, Tool


class ScanParams(fields.Params):
    files: fields.TreeFiles
    project_name: fields.ProjectName | None = Field(None, description="what it is to be called; default: what it calls itself")


class FactView(fields.Result):
    name: str
    value: str
    where: str
    """where in the tree it stands, or why it is assumed"""


class GapView(fields.Result):
    name: str
    text: str
    fix: str


class UnreadView(fields.Result):
    where: str
    why: str


class ScanResult(fields.Result):
    type: str | None
    container_port: int | None
    health_path: str | None
    dockerfile: bool
    workflow: str | None
    """the file of the workflow that deploys it"""
    facts: list[FactView]
    missing: list[GapView]
    unread: list[UnreadView]


async def _scan(call: Call, params: ScanParams) -> Outcome:
    found = source.portrait(params.files)
    facts = {"name": found.name, "type": found.type, "containerPort": found.container_port, "healthPath": found.health_path}
    result = ScanResult(
        type=_text(found.type), container_port=_number(found.container_port), health_path=_text(found.health_path),
        dockerfile=found.dockerfile, workflow=found.workflow or None,
        facts=[FactView(name=name, value=str(each.value), where=each.where) for name, each in facts.items() if each],
        missing=[GapView(name=each.name, text=each.text, fix=each.fix) for each in found.gaps],
        unread=[UnreadView(where=each.where, why=each.why) for each in found.unread],
    )  # fmt: skip
    lacks = ", ".join(each.name for each in found.gaps)
    said = f"It is {found.type.value}" if found.type else "Nothing tells what it is"
    return Outcome(result, f"{said}; look at: {lacks}." if lacks else f"{said}.", _next(call, found, params), found.beside)


def _next(call: Call, found: Portrait, params: ScanParams) -> tuple[NextCall, ...]:
    """Where it is called something, and this caller may set it up."""
    name = params.project_name or _text(found.name)
    if name is None or found.type is None or not call.actor.may_use("workflow_init", Role.MEMBER):
        return ()
    said: dict[str, Any] = {"projectName": name, "type": found.type.value}
    said |= {"containerPort": found.container_port.value} if found.container_port else {}
    said |= {"healthPath": found.health_path.value} if found.health_path else {}
    return (NextCall("workflow_init", said, "set it up"),)


def _text(fact: Fact | None) -> str | None:
    return str(fact.value) if fact else None


def _number(fact: Fact | None) -> int | None:
    return int(fact.value) if fact else None


# the files


class GenerateParams(fields.OnEnvironment):
    branch: fields.Branch = Field("main", description="a push to it is deployed")
    runner_labels: list[fields.RunnerLabel] = Field(["self-hosted"], min_length=1, max_length=10, description="of the runners")
    context: fields.BuildContext | None = Field(None, description="the folder that is built; default: the repository's root")
    server_url: fields.ServerUrl = Field(
        workflow.SERVER, description="where runners reach CodeB; the repository's variable CODEB_API_URL says otherwise"
    )
    cache: Literal["registry", "s3", "none"] = Field("registry", description="where a build keeps its layers for the next one")
    s3_endpoint: fields.ServerUrl | None = None
    s3_bucket: fields.S3Bucket | None = None
    s3_region: fields.S3Region = "us-east-1"
    auto_promote: bool = Field(False, description="promote each version once it is verified")
    previews: bool = Field(True, description="also a preview for each pull request")
    ttl_hours: int = Field(HOURS, ge=1, le=MOST_HOURS, description="hours that a preview is kept after its last push")


class FileView(fields.Result):
    path: str
    """from the root of the repository"""
    content: str


class SecretView(fields.Result):
    name: str
    about: str


class GenerateResult(fields.Result):
    project_name: str
    environment: str
    files: list[FileView]
    secrets: list[SecretView]
    """what the repository needs"""
    optional_secrets: list[SecretView]
    tools: list[str]
    """what the key has to be let call"""


async def _generate(call: Call, params: GenerateParams) -> Outcome:
    call.project(params.project_name)
    wanted = _wanted(params)
    made = workflow.files(wanted)
    about = [SecretView(name=name, about=text) for name, text in workflow.SECRETS.items()]
    result = GenerateResult(
        project_name=params.project_name, environment=params.environment,
        files=[FileView(path=each.path, content=each.content) for each in made],
        secrets=[each for each in about if each.name in wanted.secrets],
        optional_secrets=[each for each in about if each.name.startswith("IMAGE_")], tools=list(wanted.tools),
    )  # fmt: skip
    paths = " and ".join(each.path for each in made)
    said = f"{paths}: `we workflow init` writes them into the repository, which needs the secrets {', '.join(wanted.secrets)}."
    return Outcome(result, said)


def _wanted(params: GenerateParams) -> workflow.Wanted:
    """Raises `InvalidParams` for what does not go together."""
    faults: list[dict[str, str]] = []
    if params.environment.startswith("pr-"):
        faults.append({"field": "environment", "problem": "a pull request has its preview by itself"})
    if params.cache == "s3":
        lacking = [name for name, value in (("s3Endpoint", params.s3_endpoint), ("s3Bucket", params.s3_bucket)) if value is None]
        faults += [{"field": name, "problem": "a cache in S3 needs it"} for name in lacking]
    if faults:
        text = "; ".join(f"{each['field']}: {each['problem']}" for each in faults)
        raise InvalidParams(f"{text}; nothing was done.", details={"fields": faults})
    return workflow.Wanted(
        project=params.project_name, environment=params.environment, branch=params.branch, labels=tuple(params.runner_labels),
        context=params.context or ".", server_url=params.server_url, cache=params.cache, s3_endpoint=params.s3_endpoint or "",
        s3_bucket=params.s3_bucket or "", s3_region=params.s3_region, auto_promote=params.auto_promote,
        with_previews=params.previews, ttl_hours=params.ttl_hours,
    )  # fmt: skip


TOOLS: tuple[Tool[Any], ...] = (
    Tool(
        "workflow_scan", "Look at a source tree",
        "What a source tree is: framework, port, health path, Dockerfile, workflow; what is missing. Nothing of it is kept.",
        ScanParams, ScanResult, Role.VIEWER, Risk.READS, _scan,
    ),
    Tool(
        "workflow_generate", "Make GitHub workflows",
        "The files by which GitHub Actions deploys a project on a push, promotes and rolls back by hand, and previews pull"
        " requests. Only returned: nothing is written.",
        GenerateParams, GenerateResult, Role.MEMBER, Risk.READS, _generate,
    ),
)  # fmt: skip
