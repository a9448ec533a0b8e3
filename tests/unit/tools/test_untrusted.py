"""Text that others wrote is named as such in every answer."""

from codeb.tools import events, fields, logs, operations
from codeb.tools.tool import Outcome
from codeb.tools.untrusted import paths


class Branch(fields.Result):
    name: fields.Untrusted
    ahead: int


class Work(fields.Result):
    title: fields.Untrusted | None
    branches: list[Branch]
    by_author: dict[str, Branch]
    number: int


class Plain(fields.Result):
    number: int


def test_marked_fields_are_found_wherever_they_stand() -> None:
    """S25"""
    assert paths(Work) == ("title", "branches[].name", "byAuthor[].name")
    assert paths(logs.LogsResult) == ("lines",)
    assert paths(operations.GetResult) == ("operation.error", "operation.warnings", "result")
    assert paths(events.ListResult) == ("events[].data",)


def test_an_answer_names_them_and_one_without_says_nothing() -> None:
    work = Work(title="x", branches=[], by_author={}, number=1)
    assert Outcome(work, "One.").wire["untrusted"] == ["title", "branches[].name", "byAuthor[].name"]
    assert "untrusted" not in Outcome(Plain(number=1), "One.").wire
