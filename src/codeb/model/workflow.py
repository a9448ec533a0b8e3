"""GitHub workflows of a project: deploy on a push, promote and rollback by hand, a preview for each pull request.

Pure: settings to texts. Whatever varies stands in `env:` as a quoted string, or in the few places where GitHub wants it
(branches, labels, names of groups); what is run is constant. Ports of applications stand nowhere: CodeB is asked.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from codeb.model import grammar, previews, refs, workflow_steps
from codeb.model.workflow_yaml import Step, checkout, job, pairs, quoted

FOLDER = ".github/workflows"
SERVER = "http://127.0.0.1:9101"
SECRETS = {
    "CODEB_API_KEY": "a key of this project alone, such as `we token create` makes with the preset ci",
    "MINIO_ACCESS_KEY": "of the S3 that keeps the build cache",
    "MINIO_SECRET_KEY": "of the S3 that keeps the build cache",
    "IMAGE_REGISTRY_USER": "where the runner has not signed in to the image registry by itself",
    "IMAGE_REGISTRY_PASSWORD": "where the runner has not signed in to the image registry by itself",
}
TOOLS = ("scan", "deploy", "operation_get", "slot_status", "project_get", "promote", "rollback", "task_complete")
PREVIEW_TOOLS = ("preview_create", "preview_delete")
"""what a key for these workflows has to be let call"""

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
HOST = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?"
URL = re.compile(rf"https?://{HOST}(?:/[A-Za-z0-9._~-]{{1,100}}){{0,5}}")
SEAL = re.compile(r"# Written by CodeB for [a-z0-9-]{1,40}; whole: ([0-9a-f]{16})")


@dataclass(frozen=True)
class Wanted:
    """What the workflows are to be. Every value is held to its grammar before it comes here, and once more as it is written."""

    project: str
    environment: str = "production"
    branch: str = "main"
    labels: tuple[str, ...] = ("self-hosted",)
    context: str = "."
    """the folder that is built, below the root of the repository; `.`: the root"""
    server_url: str = SERVER
    cache: str = "registry"
    """registry, s3 or none"""
    s3_endpoint: str = ""
    s3_bucket: str = ""
    s3_region: str = "us-east-1"
    auto_promote: bool = False
    with_previews: bool = True
    ttl_hours: int = previews.HOURS

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of those it cannot do without."""
        return ("CODEB_API_KEY", *(("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY") if self.cache == "s3" else ()))

    @property
    def tools(self) -> tuple[str, ...]:
        return TOOLS + (PREVIEW_TOOLS if self.with_previews else ())


@dataclass(frozen=True)
class File:
    path: str
    content: str


def url(text: str) -> str:
    if not URL.fullmatch(text):
        raise ValueError("an address is http:// or https://, a host in lower case, a port where it needs one, and a plain path")
    return text


def label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise ValueError("a runner's label is 1 to 100 letters, digits, '.', '_', '-', starting with a letter or digit")
    return text


def bucket(text: str) -> str:
    if not BUCKET.fullmatch(text) or ".." in text:
        raise ValueError("a bucket is 3 to 63 lower-case letters, digits, '.', '-', without '..'")
    return text


def region(text: str) -> str:
    if not REGION.fullmatch(text):
        raise ValueError("a region is lower-case letters, digits and hyphens, such as us-east-1")
    return text


def files(wanted: Wanted) -> tuple[File, ...]:
    """The workflows, each with its path in the repository. Raises `ValueError` for a value outside its grammar."""
    _held(wanted)
    # a folder of a larger repository has its own beside those of the others
    tail = "" if wanted.context == "." else f"-{wanted.project}"
    made = [File(f"{FOLDER}/deploy{tail}.yml", _sealed(wanted, _deploy(wanted)))]
    if wanted.with_previews:
        made.append(File(f"{FOLDER}/preview{tail}.yml", _sealed(wanted, _preview(wanted))))
    return tuple(made)


def untouched(text: str) -> bool:
    """Whether this is a workflow of ours in which nobody changed anything since."""
    first, _, rest = text.partition("\n")
    seal = SEAL.fullmatch(first)
    return seal is not None and seal[1] == _sum(rest)


def _held(wanted: Wanted) -> None:
    if grammar.project_name(wanted.project) != wanted.project:
        raise ValueError("a project is called by its folded name")
    grammar.environment(wanted.environment)
    refs.branch(wanted.branch)
    if wanted.context != ".":
        grammar.tree_path(wanted.context)
    url(wanted.server_url)
    for each in wanted.labels:
        label(each)
    if wanted.cache not in workflow_steps.CACHES or not wanted.labels or not 1 <= wanted.ttl_hours <= previews.MOST_HOURS:
        raise ValueError("there is no such workflow")
    if wanted.cache == "s3":
        url(wanted.s3_endpoint)
        bucket(wanted.s3_bucket)
        region(wanted.s3_region)


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sealed(wanted: Wanted, text: str) -> str:
    return f"# Written by CodeB for {wanted.project}; whole: {_sum(text)}\n{text}"


# the two files

HEAD = """\
# `we workflow init` writes it anew as long as nobody has changed it; then it is yours. See workflow_generate.
# Runners: Linux with bash, curl, jq, git, docker and docker buildx. A runner of your own belongs to private repositories
# only: on a public one strangers would run their code on it.
"""


def _deploy(wanted: Wanted) -> str:
    place, here = f"{wanted.project} {wanted.environment}", f"refs/heads/{wanted.branch}"
    paths = "" if wanted.context == "." else f"    paths: [{quoted(_literally(wanted.context) + '/**')}]\n"
    steps: list[str | Step] = [
        checkout(), Step("What this job needs", workflow_steps.CALLS, key=True),
        Step("Ready", workflow_steps.HERE + workflow_steps.SCAN + workflow_steps.NAME, called="ready", key=True),
        _build(wanted, "latest"),
        Step("Deploy", workflow_steps.DEPLOY, {"IMAGE": "${{ steps.build.outputs.image }}"}, key=True, minutes=15),
        Step("Verify", workflow_steps.VERIFY, key=True, minutes=5),
    ]  # fmt: skip
    if wanted.auto_promote:
        steps += [
            Step("Promote", workflow_steps.PROMOTE, key=True, minutes=5),
            Step("Verify what is live", workflow_steps.LIVE, key=True, minutes=5),
        ]
    steps.append(
        Step(
            "Complete the task", workflow_steps.TASK, {"COMMIT_MESSAGE": "${{ github.event.head_commit.message }}"},
            when="contains(github.event.head_commit.message, 'task_')", key=True, minutes=5,
        )
    )  # fmt: skip
    switch = [
        Step("What this job needs", workflow_steps.CALLS, key=True),
        Step("Switch", workflow_steps.SWITCH, {"ACTION": "${{ inputs.action }}", "REASON": "${{ inputs.reason }}"},
              key=True, minutes=5),
        Step("Verify what is live", workflow_steps.LIVE, key=True, minutes=5),
    ]  # fmt: skip
    pushed = f"github.ref == '{here}' && (github.event_name == 'push' || inputs.action == 'deploy')"
    by_hand = f"github.ref == '{here}' && github.event_name == 'workflow_dispatch' && inputs.action != 'deploy'"
    return (
        f"{HEAD}name: {quoted(f'deploy {place}')}\n"
        f"on:\n  push:\n    branches: [{quoted(_literally(wanted.branch))}]\n{paths}{INPUTS}"
        f"{_common(wanted, f'codeb-{wanted.project}-{wanted.environment}', {'VERSION': '${{ github.sha }}'})}"
        f"jobs:\n{job('deploy', wanted.labels, pushed, 60, steps)}{job('switch', wanted.labels, by_hand, 15, switch)}"
    )


INPUTS = """\
  workflow_dispatch:
    inputs:
      action:
        description: what to do
        type: choice
        options: [deploy, promote, rollback]
        default: deploy
      reason:
        description: why, for the record of a rollback
        type: string
        default: ""
"""

TRUSTED = (
    "github.event.pull_request.head.repo.full_name == github.repository"
    " && github.event.pull_request.user.login != 'dependabot[bot]'"
)
"""who is not of this repository gets no secret, so there is nothing to be built for them"""


def _preview(wanted: Wanted) -> str:
    number = "${{ github.event.pull_request.number }}"
    paths = "" if wanted.context == "." else f"    paths: [{quoted(_literally(wanted.context) + '/**')}]\n"
    varies = {
        "VERSION": "${{ github.event.pull_request.head.sha }}", "PULL_REQUEST": number, "CODEB_ENVIRONMENT": f"pr-{number}",
        "TTL_HOURS": str(wanted.ttl_hours),
    }  # fmt: skip
    steps: list[str | Step] = [
        checkout("${{ github.event.pull_request.head.sha }}"), Step("What this job needs", workflow_steps.CALLS, key=True),
        Step("Ready", workflow_steps.HERE + workflow_steps.NAME, called="ready", key=True), _build(wanted, "previews"),
        Step("Preview", workflow_steps.PREVIEW, {"IMAGE": "${{ steps.build.outputs.image }}"}, key=True, minutes=15),
    ]  # fmt: skip
    remove = [
        Step("What this job needs", workflow_steps.CALLS, key=True),
        Step("Remove", workflow_steps.REMOVE, key=True, minutes=10),
    ]
    there, over = (f"github.event.action {said} 'closed' && {TRUSTED}" for said in ("!=", "=="))
    return (
        f"{HEAD}name: {quoted(f'preview {wanted.project}')}\n"
        f"on:\n  pull_request:\n    types: [opened, reopened, synchronize, closed]\n{paths}"
        f"{_common(wanted, f'codeb-{wanted.project}-pr-{number}', varies)}"
        f"jobs:\n{job('preview', wanted.labels, there, 60, steps)}{job('remove', wanted.labels, over, 15, remove)}"
    )


def _literally(name: str) -> str:
    """In a filter of GitHub's: of its signs our names may hold this one, which there means one or more of what is before it."""
    return name.replace("+", "\\+")


def _common(wanted: Wanted, group: str, varies: Mapping[str, str]) -> str:
    address = f"${{{{ vars.CODEB_API_URL || '{wanted.server_url}' }}}}"
    env = {"CODEB_API_URL": address, "CODEB_PROJECT": wanted.project, "CODEB_ENVIRONMENT": wanted.environment, **varies}
    return (
        "permissions:\n  contents: read\n"
        f"concurrency:\n  group: {quoted(group)}\n  cancel-in-progress: false\n"
        f"defaults:\n  run:\n    shell: bash\nenv:\n{pairs(env, 2)}"
    )


# parts


def _build(wanted: Wanted, cache_name: str) -> Step:
    env = {
        "IMAGE": "${{ steps.ready.outputs.image }}", "CONTEXT": wanted.context,
        "IMAGE_REGISTRY_USER": "${{ secrets.IMAGE_REGISTRY_USER }}",
        "IMAGE_REGISTRY_PASSWORD": "${{ secrets.IMAGE_REGISTRY_PASSWORD }}",
    }  # fmt: skip
    if wanted.cache != "none":
        # what a pull request builds is no cache of what is deployed
        env["CACHE_NAME"] = cache_name
    if wanted.cache == "s3":
        env |= {
            "S3_ENDPOINT": wanted.s3_endpoint, "S3_BUCKET": wanted.s3_bucket, "S3_REGION": wanted.s3_region,
            "AWS_ACCESS_KEY_ID": "${{ secrets.MINIO_ACCESS_KEY }}", "AWS_SECRET_ACCESS_KEY": "${{ secrets.MINIO_SECRET_KEY }}",
        }  # fmt: skip
    run = workflow_steps.BUILD + workflow_steps.CACHES[wanted.cache] + workflow_steps.PUSH
    return Step("Build and push", run, env, called="build", minutes=45)
