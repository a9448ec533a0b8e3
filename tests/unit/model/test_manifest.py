"""`codeb.toml` of a source tree: a strict grammar, all faults at once, no secrets, and what is written reads back (S4, S11)."""

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeb.config import Settings
from codeb.model.manifest import SERVERS, SETTINGS, TYPES, Manifest, Name, NotAManifest, read, write
from codeb.model.manifest_plan import PARTS, WATCH, wire
from codeb.tools import fields
from codeb.tools.init import InitParams
from codeb.tools.project_updates import UpdateParams

WHOLE = """
project = "My_Shop"
environment = "staging"
type = "nextjs"
container_port = 3001
health_path = "/api/health"
memory_mb = 1024
cpus = 2
auto_rollback = false
watch_seconds = 90
environments = ["production", "staging"]

[database]

[redis]
environments = ["staging"]

[[domains]]
name = "shop.example.com"
redirect = true

[[domains]]
name = "next.example.com"
environment = "staging"
"""


def test_a_whole_file() -> None:
    both = ("production", "staging")
    assert read(WHOLE) == Manifest(
        project="my-shop", environment="staging", type="nextjs", container_port=3001, health_path="/api/health", memory_mb=1024,
        cpus=2.0, auto_rollback=False, watch_seconds=90, environments=both, database=both, redis=("staging",),
        domains=(Name("shop.example.com", "production", True), Name("next.example.com", "staging")),
    )  # fmt: skip
    assert read('project = "shop"') == Manifest("shop")
    assert read('\ufeffproject = "shop"\r\n[database]\r\n').database == ("production",)


def faults(text: str) -> list[str]:
    with pytest.raises(NotAManifest) as caught:
        read(text)
    return [str(each) for each in caught.value.faults]


def test_all_faults_are_told_at_once_each_with_its_line() -> None:
    said = faults(
        'project = "shop-blue"\ncontainer_prot = 1\nmemory_mb = "512"\nenvironments = ["production", "prod"]\n'
        '[database]\nsize = 1\nenvironments = ["staging"]\n[[domains]]\nname = "x"\n[[domains]]\nredirect = 1\n'
    )
    assert [each.partition(":")[0] for each in said] == [
        "line 1, project", "line 2, container_prot", "line 3, memory_mb", "line 4, environments", "line 6, database.size",
        "line 7, database.environments", "line 9, domains[0].name", "line 10, domains[1]", "line 11, domains[1].redirect",
    ]  # fmt: skip
    assert "did you mean container_port?" in said[1]
    assert "known are environments" in said[4]


@pytest.mark.parametrize(
    "line",
    [
        "project = 7", 'type = "php"', "container_port = 0", "container_port = 65536", "container_port = true",
        "container_port = 80.0", 'health_path = "health"', 'health_path = "/a b"',
        "memory_mb = 31", "cpus = 0", "cpus = nan", "cpus = inf", 'cpus = "1"',
        "cpus = true", "auto_rollback = 1", "watch_seconds = -1", "environments = []", 'environments = "production"',
        'environments = ["staging", "staging"]', "environments = [1]", 'environment = "prod"', "database = true", "redis = []",
        'domains = ["shop.example.com"]', 'domains = [{name = "a.example.com"}, {name = "a.example.com"}]',
        'domains = [{name = "-a.example.com"}]', 'domains = [{name = "a.example.com", environment = "staging"}]',
        'domains = [{name = "a.example.com", port = 1}]', 'database = {environments = ["staging"]}', 'redis = {environments = 1}',
        "x = 1979-05-27", "[a.b.c]", "project.name = 1",
    ],
)  # fmt: skip
def test_what_is_not_as_it_has_to_be_is_refused(line: str) -> None:
    head = "" if line.startswith("project") else 'project = "shop"\n'
    assert faults(head + line)


@pytest.mark.parametrize(
    "text",
    [
        'DATABASE_URL = "postgresql://u:canary@h/d"', '[env]\nTOKEN = "canary"', '[secrets]\na = "canary"',
        '[database]\nurl = "postgresql://u:canary@h/d"', '[database]\npassword = "canary"', 'api_key = "canary"',
    ],
)  # fmt: skip
def test_secrets_are_refused_and_not_repeated(text: str) -> None:
    said = faults('project = "shop"\n' + text)
    assert "we env set" in said[0]
    assert "canary" not in repr(said)


@pytest.mark.parametrize(
    "text",
    [
        'project = "canary canary"', 'type = "canary"', 'health_path = "canary"', 'environment = "canary"', 'database = "canary"',
        'domains = [{name = "canary canary"}]', "= canary", 'project = "canary', 'container_port = "canary"',
    ],
)  # fmt: skip
def test_no_refusal_repeats_a_value(text: str) -> None:
    assert "canary" not in repr(faults(text))


def test_a_servers_settings_are_told_from_a_trees_file() -> None:
    said = faults('host = "127.0.0.1"\nport = 9101\nbase_domain = "example.com"\n')
    assert sum("CODEB_HOME" in each for each in said) == 3
    assert "did you mean container_port?" in said[2]
    assert set(Settings.model_fields) >= SERVERS
    assert not set(Settings.model_fields) & set(Manifest.__dataclass_fields__)


def test_the_bounds_are_those_of_the_tools() -> None:
    assert get_args(fields.ProjectType) == TYPES
    update, init = (each.model_json_schema(by_alias=True)["properties"] for each in (UpdateParams, InitParams))
    for name in ("container_port", "memory_mb", "cpus", "watch_seconds"):
        said = update[wire(name)]["anyOf"][0]
        assert wire(name) not in init or {key: init[wire(name)][key] for key in ("minimum", "maximum")} == {
            key: said[key] for key in ("minimum", "maximum")
        }, name
        for value, good in ((said["minimum"], True), (said["maximum"], True), (said["maximum"] + 1, False), (-1, False)):
            text = f'project = "a"\n{name} = {value}'
            assert getattr(read(text), name) == value if good else faults(text), (name, value)
    assert set(UpdateParams.model_fields) >= set(SETTINGS)
    assert set(InitParams.model_fields) >= {*SETTINGS, *PARTS} - set(WATCH)


@pytest.mark.parametrize(
    "text",
    [
        "project = " + "[" * 20_000,
        "[" * 20_000,
        'project = "a"\n' + "#" * 70_000,
        ".".join("a" * 20_000) + "=1",
        "\0",
        "\ud800",
        'project = "\\',
    ],
)
def test_hostile_text_is_refused(text: str) -> None:
    assert faults(text)


PLACES = ("production", "staging", "preview", "pr-12")


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    named = draw(st.none() | st.lists(st.sampled_from(PLACES), min_size=1, unique=True).map(tuple))
    places = named or ("production",)
    some = st.none() | st.lists(st.sampled_from(places), unique=True).map(tuple)
    hosts = st.lists(st.sampled_from(["a.example.com", "b.example.com", "www.example.com", "shop.localhost"]), unique=True)
    maybe = st.none() | st.booleans()
    names = st.none() | hosts.map(lambda found: tuple(Name(each, draw(st.sampled_from(places)), draw(maybe)) for each in found))
    values: dict[str, Any] = {
        "environment": st.none() | st.sampled_from(PLACES), "type": st.none() | st.sampled_from(TYPES),
        "container_port": st.none() | st.integers(1, 65535), "health_path": st.none() | st.sampled_from(["/", "/a/~b_.c-d"]),
        "memory_mb": st.none() | st.integers(32, 262144), "cpus": st.none() | st.floats(0.1, 64), "auto_rollback": maybe,
        "watch_seconds": st.none() | st.integers(0, 86400), "database": some, "redis": some, "domains": names,
    }  # fmt: skip
    return Manifest("shop", environments=named, **{name: draw(each) for name, each in values.items()})


@settings(max_examples=150, deadline=None)
@given(manifests())
def test_what_is_written_reads_back_as_it_was(manifest: Manifest) -> None:
    assert read(write(manifest, dict.fromkeys(Manifest.__dataclass_fields__, "Dockerfile line 3: EXPOSE 3000"))) == manifest


def test_a_note_cannot_become_a_line() -> None:
    assert read(write(Manifest("shop", type="remix"), {"type": 'x\nproject = "other"', "project": "é"})).project == "shop"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read(text)
    except NotAManifest as fault:
        assert fault.faults


def test_the_file_in_the_readme_is_one() -> None:
    text = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
    shown = read(text.partition("```toml\n")[2].partition("```")[0])
    assert all(getattr(shown, name) is not None for name in Manifest.__dataclass_fields__)
