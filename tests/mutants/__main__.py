"""`make mutants`: one guard at a time is taken out, and one of its tests has to fail.

python -m tests.mutants [--only TEXT] [--shard 1/2] [--limit SECONDS] [--verbose]

Ends with 0 when every guard was missed, or is listed as the same in words; with 1 when one survived, when a text of the table is
not in the code any more, or when the tests do not even pass with all guards in place.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.guard import Guard
from tests.mutants.inplace import only_in_functions
from tests.mutants.run import Verdict, in_a_copy, in_place
from tests.mutants.table import GUARDS, SOURCE


def chosen(guards: Iterable[Guard], only: str, shard: str) -> list[Guard]:
    """Those whose name has `only` in it; of them every n-th, by `1/2` or `2/2`."""
    number, _, of = shard.partition("/")
    return [each for each in guards if only in each.name][int(number) - 1 :: int(of)]


def run(guards: list[Guard], limit: float, *, verbose: bool) -> int:
    began, count, quick, slow = time.monotonic(), Counter[Verdict](), list[Guard](), list[Guard]()

    def heard(guard: Guard, verdict: Verdict, why: str) -> None:
        count[verdict] += 1
        if verdict is not Verdict.KILLED or verbose:
            print(f"{verdict}: {guard.name}{f'  ({why[-300:]})' if why else ''}", flush=True)

    for each in guards:
        source = (SOURCE / each.file).read_text()
        try:
            (quick if only_in_functions(source, each.in_place(source)) else slow).append(each)
        except LookupError as fault:
            heard(each, Verdict.NOT_RUN, str(fault))
    with tempfile.TemporaryDirectory(prefix="codebtest-mutants-") as folder:
        sound = in_a_copy(slow, Path(folder), limit, heard) and in_place(quick, limit, heard)
    print(", ".join(f"{count[each]} {each}" for each in Verdict), f"of {len(guards)} in {time.monotonic() - began:.0f} s")
    return 1 if not sound or count[Verdict.SURVIVED] or count[Verdict.NOT_RUN] else 0


def main() -> int:
    said = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    said.add_argument("--only", default="", help="guards with this in their name, such as gate/door.py")
    said.add_argument("--shard", default="1/1", help="1/2 and 2/2 are the two halves")
    said.add_argument("--limit", type=float, default=60.0, help="seconds that one test may take")
    said.add_argument("--verbose", action="store_true", help="say of each which test missed it")
    words = said.parse_args()
    guards = chosen(GUARDS, words.only, words.shard)
    if not guards:
        said.error("no guard is called so")
    return run(guards, words.limit, verbose=words.verbose)


if __name__ == "__main__":
    sys.exit(main())
