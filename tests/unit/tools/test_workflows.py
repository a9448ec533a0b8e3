"""workflow_scan: what a source tree is, told from what the caller hands in. workflow_generate: files that are only returned."""

import pytest

from codeb.model.access import Role
from tests.kit import add_key, begin

pytestmark = pytest.mark.anyio

NEXT = {
    "package.json": '{"name": "shop", "dependencies": {"next": "15"}}', "Dockerfile": "FROM node\nEXPOSE 3001\nEXPOSE $X\n",
    "app/api/health/route.ts": None, "README.md": None,
}  # fmt: skip


async def test_a_tree_is_told_and_the_call_that_sets_it_up_is_ready() -> None:
    async with begin("active") as rig:
        body = await rig.boot().ok("workflow_scan", files=NEXT)
        assert (body["type"], body["containerPort"], body["healthPath"]) == ("nextjs", 3001, "/api/health")
        assert (body["dockerfile"], body["workflow"]) == (True, None)
        assert {each["name"]: each["where"] for each in body["facts"]} == {
            "name": "package.json: name", "type": "package.json: next", "containerPort": "Dockerfile line 2: EXPOSE 3001",
            "healthPath": "app/api/health/route.ts",
        }  # fmt: skip
        assert [each["name"] for each in body["missing"]] == [".dockerignore", "workflow"]
        assert body["unread"] == [{"where": "Dockerfile line 3", "why": "EXPOSE $X has no value that the file says"}]
        ready = {"projectName": "shop", "type": "nextjs", "containerPort": 3001, "healthPath": "/api/health"}
        assert [(each["tool"], each["params"]) for each in body["next"]] == [("workflow_init", ready)]
        named = await rig.boot().ok("workflow_scan", files=NEXT, projectName="My_Shop")
        assert named["next"][0]["params"]["projectName"] == "my-shop"


async def test_without_a_name_or_the_right_nothing_is_next() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        assert (await process.ok("workflow_scan", files={"requirements.txt": "flask"}))["next"] == []
        assert (await process.ok("workflow_scan", files={"README.md": None}))["type"] is None
        viewer = await add_key(rig, Role.VIEWER)
        assert (await process.ok("workflow_scan", key=viewer, files=NEXT))["next"] == []


async def test_what_is_in_the_files_is_not_on_record() -> None:
    """S11: a Dockerfile may hold a secret."""
    async with begin("active") as rig:
        process = rig.boot()
        await process.ok("workflow_scan", files={"Dockerfile": "FROM a\nENV TOKEN=canary-7f3\n"})
        await process.refused("workflow_scan", 400, "invalid_params", files={"../Dockerfile": "canary-7f3"})
        await process.audit.flush()
        said = await process.ok("audit_list")
        rows = [each for each in said["rows"] if each["tool"] == "workflow_scan"]
        assert len(rows) == 2
        assert "canary" not in str(said)


async def test_the_files_are_returned_with_what_they_need() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.ok("workflow_generate", projectName="Shop", branch="trunk", autoPromote=True)
        assert [each["path"] for each in body["files"]] == [".github/workflows/deploy.yml", ".github/workflows/preview.yml"]
        assert [each["name"] for each in body["secrets"]] == ["CODEB_API_KEY"]
        assert {"deploy", "promote", "rollback", "preview_create", "preview_delete"} <= set(body["tools"])
        assert '    branches: ["trunk"]' in body["files"][0]["content"].splitlines()
        alone = await process.ok("workflow_generate", projectName="shop", previews=False)
        assert [each["path"] for each in alone["files"]] == [".github/workflows/deploy.yml"]
        assert "preview_create" not in alone["tools"]


async def test_what_does_not_go_together_is_refused() -> None:
    async with begin("active") as rig:
        process = rig.boot()
        body = await process.refused("workflow_generate", 400, "invalid_params", projectName="shop", cache="s3")
        assert [each["field"] for each in body["details"]["fields"]] == ["s3Endpoint", "s3Bucket"]
        s3 = {"cache": "s3", "s3Endpoint": "https://s3.example.com", "s3Bucket": "build-cache"}
        body = await process.ok("workflow_generate", projectName="shop", **s3)
        assert [each["name"] for each in body["secrets"]] == ["CODEB_API_KEY", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"]
        await process.refused("workflow_generate", 400, "invalid_params", projectName="shop", environment="pr-1")
        for name, bad in (
            ("branch", "main\n"), ("branch", "${{ github.token }}"), ("runnerLabels", ["a b"]), ("context", "../x"),
            ("serverUrl", "https://a.example.com/' || secrets.A || '"), ("ttlHours", 0),
        ):  # fmt: skip
            await process.refused("workflow_generate", 400, "invalid_params", projectName="shop", **{name: bad})
        await process.refused("workflow_generate", 404, "project_not_found", projectName="nowhere")
