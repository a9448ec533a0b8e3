"""The guard before shell commands: what it refuses however it is dressed up, what it asks about, what it lets alone."""

import shlex
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shell_rules
import shell_text
from tests.unit.plugin.shell_commands import ASKED, HARMLESS, REFUSED

FOLDER = "/work/shop"
NAMED = (
    "slot_cleanup", "registry_gc", "deploy", "domain_setup", "health_check", "project_delete", "reconcile", "env_set",
    "audit_list", "token_rotate", "undelete", "firewall_sync", "we down",
)  # fmt: skip
DRESSED = (
    "cd /tmp && {}", "{} || true", "true; {} &", "({})", "{{ {}; }}", "if true; then {}; fi", "for i in 1; do {}; done", "! {}",
    "f() {{ {}; }}; f",
    "echo $({})", 'echo "now: $({})"', "x=`{}`", "cat <({})", "sudo -n {}", "env A=1 B='2 3' {}", "nohup {}",
    "timeout -k 5 60 {}", "nice -n 5 {}",
    "time {}", "exec {}", "command {}", "A=1 {}", "stdbuf -oL {}", "setsid {} >/dev/null 2>&1 </dev/null",
    "ls # nothing\n{}", "cat <<'X'\nit's\nX\n{}",
)  # fmt: skip
WRITTEN = (
    "sh -c {}",
    "bash -lc {}",
    "/bin/bash -euxo pipefail -c {}",
    "eval {}",
    "echo {} | sh",
    "bash <<< {}",
    "ssh host {}",
    "su root -c {}",
    "env -S {}",
)
"""the same, given as a text"""


def judged(command: str) -> str | None:
    return judged_in(Path(FOLDER), command)


def judged_in(folder: Path, command: str) -> str | None:
    verdict = shell_rules.judge(command, str(folder))
    return verdict.decision if verdict else None


@pytest.mark.parametrize("command", REFUSED)
def test_what_goes_behind_codebs_back_is_refused_and_the_tool_named(command: str) -> None:
    verdict = shell_rules.judge(command, FOLDER)
    assert verdict is not None
    assert verdict.decision == "deny"
    assert any(word in verdict.reason for word in NAMED), verdict.reason


@pytest.mark.parametrize("command", ASKED)
def test_what_cannot_be_told_or_is_a_persons_to_decide_is_asked(command: str) -> None:
    assert judged(command) == "ask"


@pytest.mark.parametrize("command", HARMLESS)
def test_everyday_commands_are_let_alone(command: str) -> None:
    assert judged(command) is None


@pytest.mark.parametrize("rule", shell_rules.RULES, ids=lambda rule: rule.__name__)
def test_without_any_one_rule_something_gets_through(rule: object, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {command: judged(command) for command in (*REFUSED, *ASKED)}
    monkeypatch.setattr(shell_rules, "RULES", tuple(each for each in shell_rules.RULES if each is not rule))
    assert any(judged(command) != decision for command, decision in before.items())


@pytest.mark.parametrize("dress", DRESSED)
def test_no_dress_hides_a_command(dress: str) -> None:
    plain = [
        each
        for each in REFUSED
        if "\n" not in each and each.split()[0] in ("docker", "rm", "caddy", "tee", "touch", "pkill", "find")
    ]
    assert len(plain) > 15
    missed = [each for each in plain if judged(dress.format(each)) != "deny"]
    assert missed == []


@pytest.mark.parametrize("dress", WRITTEN)
def test_no_quotes_hide_a_command(dress: str) -> None:
    plain = [
        each for each in REFUSED if "\n" not in each and "\\" not in each and each.split()[0] in ("docker", "rm", "caddy", "find")
    ]
    assert len(plain) > 12
    missed = [each for each in plain if judged(dress.format(shlex.quote(each))) != "deny"]
    assert missed == []


@pytest.mark.parametrize("dress", DRESSED)
def test_a_dress_makes_nothing_dangerous(dress: str) -> None:
    simple = (
        "ls -la",
        "git status",
        "docker ps",
        "npm test",
        "rm -rf node_modules",
        "echo 'docker system prune'",
        "grep -rn 'caddy reload' .",
    )
    assert [each for each in simple if judged(dress.format(each)) is not None] == []


def cut(text: str, at: list[int], how: str) -> str:
    """The same word for a shell, written with quotes or backslashes in the middle of it."""
    made = ""
    for number, char in enumerate(text):
        made += {"'": f"'{char}'", '"': f'"{char}"', "\\": f"\\{char}"}[how] if number in at and char != " " else char
    return made


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(0, 30), max_size=8),
    st.sampled_from("'\"\\"),
    st.sampled_from(("docker system prune", "rm -rf /opt/codeb", "caddy reload")),
)
def test_quotes_and_backslashes_within_words_change_nothing(at: list[int], how: str, command: str) -> None:
    assert judged(cut(command, at, how)) == "deny"


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("abc $(){}[]<>|&;'\"`\\\n#=*?~-/!"), max_size=60))
def test_whatever_is_written_the_guard_gives_an_answer(command: str) -> None:
    assert judged(command) in (None, "ask", "deny")


@pytest.mark.parametrize(
    "command",
    ("echo " + "a " * 30_000, "(" * 30_000, "$(" * 5_000, '"$(' * 3_000, "`echo " * 5_000, "{a,b}" * 40, "sudo " * 10_000 + "ls",
     "a|" * 20_000, "sh -c " * 5_000, "<<a " * 5_000 + "\n" + "x\n" * 5_000, "x" * 100_000),
    ids=range(11),
)  # fmt: skip
def test_an_endless_command_is_judged_in_time_too(command: str) -> None:
    began = time.monotonic()
    assert judged(command) in (None, "ask")
    # the hook gives up after eight seconds and lets nothing through
    assert time.monotonic() - began < 6


def test_what_cannot_be_read_is_asked_about() -> None:
    for command in ("echo 'never closed", "echo $(ls", "(" * 10 + "$(" * 40, "x" * (shell_text.LONGEST + 1)):
        assert judged(command) == "ask"


def test_a_script_that_is_there_is_read_for_what_is_plainly_wrong(tmp_path: Path) -> None:
    script = tmp_path / "deploy.sh"
    for text, expected in (
        ("#!/bin/sh\nset -e\ndocker system prune -af\n", "deny"),
        ("#!/usr/bin/env bash\nrm -rf /opt/codeb\n", "deny"),
        ("#!/bin/sh\ndocker stop $NAME\npsql -c 'drop table x'\nwe promote\nsh -c \"$1\"\necho 'never closed", None),
        ("#!/bin/sh\nnpm ci\nnpm test\n", None),
        ("\x00\xff\x00", None),
    ):
        script.write_text(text)
        for command in (
            "bash deploy.sh",
            "sh -e ./deploy.sh",
            "./deploy.sh",
            f"{script} now",
            "source deploy.sh",
            "sudo ./deploy.sh",
            "cd . && . ./deploy.sh",
        ):
            assert judged_in(tmp_path, command) == expected, (command, text)
    script.write_text("#!/usr/bin/python3\n# never call docker system prune\n")
    assert judged_in(tmp_path, "./deploy.sh") is None, "another language is not read as a shell's"
    script.write_text("#!/bin/sh\n./deploy.sh\n")
    assert judged_in(tmp_path, "./deploy.sh") == "ask", "one that runs itself has no end"


def test_what_only_the_shell_knows_is_no_reason_to_refuse() -> None:
    for folder in ("/root", "/opt", "/"):
        for command in (
            'rm -rf "$TMP"',
            "rm -rf $(mktemp -d)",
            'rm -f "$a/$b"',
            "rm -rf $X/",
            "mv $A $B",
            "cp $A /tmp",
            "> $OUT",
            "rm -rf build-*",
        ):
            assert judged_in(Path(folder), command) is None, (folder, command)
    for command in ("rm $X/slots/shop-production/green", "echo > $X/sites/shop-production.caddy"):
        assert judged(command) == "deny"
    assert judged_in(Path("/opt"), "rm -rf *") == "deny"


def test_codebs_home_and_proxy_are_where_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged("rm -rf /srv/deploys") is None
    monkeypatch.setenv("CODEB_HOME", "/srv/deploys")
    monkeypatch.setenv("CODEB_CADDY_DIR", "/srv/front")
    for command in (
        "rm -rf /srv/deploys",
        "rm -rf $CODEB_HOME",
        "rm -rf /srv",
        "echo > /srv/front/Caddyfile",
        "mv $CODEB_CADDY_DIR /tmp",
    ):
        assert judged(command) == "deny", command
