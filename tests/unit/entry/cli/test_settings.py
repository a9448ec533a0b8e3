"""Which server, which key, which project: where each comes from, and where a key does not go."""

from pathlib import Path

import pytest

from codeb.entry.cli.main import main
from codeb.entry.cli.settings import BadSetting, repository, where
from tests.unit.entry.cli.conftest import Fake, We


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def person(text: str) -> None:
    write(Path.home() / ".codeb" / "config.toml", text)


def owner_key(tmp_path: Path) -> None:
    write(tmp_path / "home" / "owner.key", "codeb_main_owner_abc\n")


def test_the_default_is_this_machine_with_its_owner_key(tmp_path: Path) -> None:
    owner_key(tmp_path)
    found = where()
    assert (found.url, found.url_from) == ("http://127.0.0.1:9101", "default")
    assert found.key is not None
    assert found.key.reveal() == "codeb_main_owner_abc"
    assert found.key_from == str(tmp_path / "home" / "owner.key")


def test_the_port_comes_from_the_environment_then_the_servers_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "home" / "codeb.toml", 'port = 9300\nhost = "0.0.0.0"\n')
    assert where().url == "http://127.0.0.1:9300"
    monkeypatch.setenv("CODEB_PORT", "9400")
    assert (where().url, where().url_from) == ("http://127.0.0.1:9400", "CODEB_PORT")


def test_option_before_environment_before_file(monkeypatch: pytest.MonkeyPatch) -> None:
    person('api_url = "https://a.example/"\napi_key = "k1"\n')
    assert where().url == "https://a.example"
    monkeypatch.setenv("CODEB_API_URL", "http://b.example")
    assert where().url_from == "CODEB_API_URL"
    assert where("http://c.example").url_from == "--api-url"
    monkeypatch.setenv("CODEB_API_KEY", "k2")
    key = where().key
    assert key is not None
    assert key.reveal() == "k2"


def test_a_key_goes_only_to_the_server_it_belongs_to(tmp_path: Path) -> None:
    owner_key(tmp_path)
    assert where("http://elsewhere.example:9101").key is None
    person('api_url = "https://a.example"\napi_key = "k1"\n')
    assert where().key is not None
    assert where("https://b.example").key is None


@pytest.mark.parametrize(
    "url", ["ftp://a", "a:9101", "http://", "http://u:p@a", "http://a:0", "http://a:x", "http://a b", "http://a?x=1"]
)
def test_what_is_not_an_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(BadSetting):
        where(url)
    assert main(["--api-url", url, "status"]) == 2


def test_a_key_with_a_newline_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEB_API_KEY", "a\r\nX-Evil: 1")
    with pytest.raises(BadSetting):
        where()


def test_codeb_toml_is_found_in_a_parent_up_to_the_repository(here: Path) -> None:
    below = here / "a" / "b"
    below.mkdir(parents=True)
    write(here.parent / "codeb.toml", 'project = "outside"\n')
    assert repository(below).project is None
    write(here / "codeb.toml", 'project = "shop"\nenvironment = "staging"\n')
    assert (repository(below).project, repository(below).environment) == ("shop", "staging")


def test_outside_a_repository_only_this_folder_counts(tmp_path: Path) -> None:
    below = tmp_path / "plain" / "below"
    below.mkdir(parents=True)
    write(tmp_path / "plain" / "codeb.toml", 'project = "shop"\n')
    assert repository(below).project is None
    assert repository(tmp_path / "plain").project == "shop"


def test_the_servers_own_file_is_not_taken_for_a_repositorys(tmp_path: Path) -> None:
    write(tmp_path / "home" / "codeb.toml", "port = 9300\n")
    assert repository(tmp_path / "home").path is None


def test_unknown_words_are_a_warning_and_wrong_ones_an_error(here: Path, fake: Fake, we: We) -> None:
    fake.says("slot_list", {"success": True})
    write(here / "codeb.toml", 'projcet = "shop"\n')
    said = we("status", "--json")
    assert (said.code, said.out) == (0, '{"success": true}\n')
    assert "projcet" in said.err
    write(here / "codeb.toml", "project = 7\n")
    assert we("status").code == 2
    write(here / "codeb.toml", "project = \n")
    assert we("status").code == 2


def test_project_and_environment_are_filled_in(here: Path, fake: Fake, we: We) -> None:
    write(here / "codeb.toml", 'project = "shop"\nenvironment = "staging"\n')
    fake.says("promote", {"success": True})
    we("promote", "--json")
    we("promote", "--json", "-e", "production")
    we("promote", "--json", "-p", "other")
    assert fake.asked("promote") == [
        {"projectName": "shop", "environment": "staging"},
        {"projectName": "shop", "environment": "production"},
        # the file's environment is that of the file's project
        {"projectName": "other"},
    ]


def test_what_destroys_has_its_project_named(here: Path, fake: Fake, we: We) -> None:
    write(here / "codeb.toml", 'project = "shop"\n')
    said = we("project", "delete", "--yes", "--confirm", "shop")
    assert said.code == 2
    assert fake.calls == []


def test_config_tells_where_everything_comes_from_and_no_key(here: Path, we: We) -> None:
    write(here / "codeb.toml", 'project = "shop"\n')
    said = we("config")
    assert said.code == 0
    for word in ("CODEB_API_URL", "CODEB_API_KEY", "shop", str(here / "codeb.toml"), "CODEB_GRACE_HOURS"):
        assert word in said.out
    assert "codeb_main_owner_test" not in said.out + said.err
    assert we("config", "--json").out.startswith('{"cli"')
