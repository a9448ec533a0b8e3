"""Each house rule fires on a planted violation, and stays silent on what is right."""

import subprocess
from pathlib import Path

import pytest
from scripts import check_house

MODEL = "src/codeb/model/grammar.py"
DRIVER = "src/codeb/drivers/runner.py"


def planted(root: Path, name: str, text: str) -> list[str]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(check_house.findings(root))


@pytest.mark.parametrize("stem", ["utils", "helpers", "common", "manager", "service", "base"])
@pytest.mark.parametrize("folder", ["src/codeb/model", "tests/unit", "demo", "scripts"])
def test_a_name_that_says_nothing(tmp_path: Path, folder: str, stem: str) -> None:
    assert planted(tmp_path, f"{folder}/{stem}.py", "") == [f"{folder}/{stem}.py:1: {stem}.py says nothing about what is in it"]


def test_a_name_that_says_something(tmp_path: Path) -> None:
    assert planted(tmp_path, "src/codeb/model/base_domain.py", "") == []


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=yes)",
        "os.system('ls')",
        "os.popen('ls')",
        "from os import system",
        "subprocess.getoutput('ls')",
        "asyncio.create_subprocess_shell('ls')",
        "run(['sh', '-c', 'ls'])",
        "run(['env', '/bin/bash', '-c', 'ls'])",
        "asyncio.create_subprocess_exec('sh', '-c', 'ls')",
        "command = 'sh -c ls'",
        "command = f'bash -c {name}'",
    ],
)
def test_a_shell(tmp_path: Path, line: str) -> None:
    found = planted(tmp_path, DRIVER, f"import os\n\n{line}\n")
    assert len(found) == 1
    assert found[0].startswith(f"{DRIVER}:3: ")


@pytest.mark.parametrize(
    "text",
    ['"""Programs are run without `sh -c`."""', "run(['ls', '-c'])", "run(['ls'], shell=False)", "x: str\n'''never sh -c'''"],
)
def test_no_shell(tmp_path: Path, text: str) -> None:
    assert planted(tmp_path, DRIVER, text + "\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "re.compile(r'^a+')",
        "re.compile(r'a+$')",
        "re.fullmatch('^a$', text)",
        "re.match('a+', text)",
        "re.search('a+', text)",
        "NAME.match(text)",
        "NAME.search(text)",
        "Field(pattern='a+')",
    ],
)
def test_a_match_that_is_not_whole(tmp_path: Path, line: str) -> None:
    found = planted(tmp_path, MODEL, f"{line}\n")
    assert found
    assert all(each.startswith(f"{MODEL}:1: ") for each in found)


def test_a_whole_match(tmp_path: Path) -> None:
    assert planted(tmp_path, MODEL, "NAME = re.compile('[a-z^$]+')\nre.fullmatch('a', text)\nNAME.fullmatch(text)\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "text(f'SELECT * FROM keys WHERE id = {key}')",
        "sa.text('SELECT * FROM ' + table)",
        "connection.execute('DELETE FROM keys WHERE id = %s' % key)",
        "connection.exec_driver_sql('DROP TABLE {}'.format(table))",
        "text(' AND '.join(conditions))",
        "statement = f'UPDATE keys SET label = {label}'",
        "statement = 'INSERT INTO keys VALUES (' + values",
    ],
)
def test_sql_put_together(tmp_path: Path, line: str) -> None:
    found = planted(tmp_path, DRIVER, f"\n{line}\n")
    assert found
    assert all(each.startswith(f"{DRIVER}:2: ") and "put together from pieces" in each for each in found)


@pytest.mark.parametrize(
    "line", ["text('SELECT 1')", "text('SELECT 1 ' 'WHERE a = :a')", "tx.execute(keys.select())", "said = f'Select {name} first'"]
)
def test_sql_that_is_one_constant(tmp_path: Path, line: str) -> None:
    assert planted(tmp_path, DRIVER, line + "\n") == []


def test_sql_takes_only_the_names_of_its_file(tmp_path: Path) -> None:
    name = "src/codeb/drivers/store/sqlite.py"
    assert planted(tmp_path, name, "cursor.execute(f'PRAGMA {pragma}')\n") == []
    assert planted(tmp_path, name, "cursor.execute(f'PRAGMA {pragma}={said}')\n")


@pytest.mark.parametrize("host", check_house.HOSTS)
@pytest.mark.parametrize("before", ["", "files.", "https://registry-1.", '"'])
@pytest.mark.parametrize("name", ["README.md", DRIVER, "requirements/dev.txt", "Makefile"])
def test_a_host_of_packages(tmp_path: Path, host: str, before: str, name: str) -> None:
    found = planted(tmp_path, name, f"\n# {before}{host}/simple\n")
    assert found == [f"{name}:2: {host} is the name of a host of packages"]


def test_what_only_looks_like_a_host_of_packages(tmp_path: Path) -> None:
    assert planted(tmp_path, "README.md", "docker.iota docker-compose debian.organic pypi\n") == []


@pytest.mark.parametrize("address", [".".join(["8"] * 4), ".".join(["1", "2", "3", "4"]), ".".join(["93", "184", "216", "34"])])
def test_a_real_address(tmp_path: Path, address: str) -> None:
    found = planted(tmp_path, "tests/test_a.py", f"url = 'http://{address}:80/'\n")
    assert len(found) == 1
    assert f"{address} is somebody's address" in found[0]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "0.0.0.0", "192.0.2.1", "198.51.100.7", "203.0.113.9", "10.0.0.2", "169.254.169.254"]
)
def test_an_address_of_nobody(tmp_path: Path, address: str) -> None:
    assert planted(tmp_path, "tests/test_a.py", f"address = '{address}'\n") == []


def test_a_version_is_no_address(tmp_path: Path) -> None:
    assert planted(tmp_path, "docs/a.md", "7.2.2.20261111 and v1.2.3.4.5 and 999.1.1.1\n") == []


def test_git_says_what_is_looked_at(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("left-out/\n")
    assert planted(tmp_path, "left-out/utils.py", "") == []
    assert len(planted(tmp_path, "new/utils.py", "")) == 1


def test_the_exit_code_and_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_house.main(tmp_path) == 0
    planted(tmp_path, "src/utils.py", "")
    assert check_house.main(tmp_path) == 1
    assert capsys.readouterr().out == "src/utils.py:1: utils.py says nothing about what is in it\n"
