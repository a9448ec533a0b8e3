"""Work items: what is a path, who may hold one, how a task moves, who sees it."""

from tests.mutants.guard import Guard, guards_of

TASKS = "unit/tools/test_tasks.py"
LOCKS = "unit/tools/test_task_locks.py"
CONTRACT = "contracts/test_store_work.py"

refs = guards_of("model/refs.py", "unit/model/test_refs.py")
GRAMMAR = (
    refs("if not BRANCH.fullmatch(text) or bad:", "if not BRANCH.fullmatch(text):"),
    refs("if not BRANCH.fullmatch(text) or bad:", "if bad:"),
    refs("if not TASK_ID.fullmatch(text):", "if not TASK_ID.match(text):"),
    refs('in unicodedata.normalize("NFC", text).split("/")', 'in text.split("/")'),
    refs('if text.startswith("/") or ".." in', 'if ".." in'),
    refs('or ".." in path.split("/"):', "or False:"),
    refs('if not path or path[0] == "-":', "if not path:"),
    refs("if not all(map(writable, path)):", "if False:"),
    refs("char not in _TURNS and unicodedata", "unicodedata"),
    refs("if len(path.encode()) > MOST_BYTES:", "if len(path) > MOST_BYTES:"),
    refs("(?<![A-Za-z0-9_])task_", "task_"),
    refs("[:MOST_NAMED]", ""),
)

work = guards_of("model/work.py", "unit/model/test_work.py")
MODEL = (
    work("self.until is not None and now < self.until", "self.until is not None and now <= self.until"),
    work('while "/" in path:', "while False:"),
    work("*below.get(path, ()))", ")"),
    work("[lock for lock in locks if lock.branch != branch]", "list(locks)"),
    work("(Status.DONE, Status.DEPLOYED),\n    }", "(Status.REVIEW, Status.DEPLOYED),\n    }"),
    work("if not LEAST_LOCK <= span <= LONGEST_LOCK:", "if False:"),
)

views = guards_of("tools/task_views.py", TASKS)
SEEN = (
    views("or project is None or not call.actor.sees_project(project.name, project.team):", "or project is None:"),
    views("    if is_deleted(project):", "    if False:"),
    views("    if fault := not_ready(project):", "    if (fault := not_ready(project)) and False:"),
)

writes = guards_of("tools/task_writes.py", TASKS, LOCKS)
WRITTEN = (
    writes("if met := in_the_way([each.path for each in wanted.taken], task.branch, others):", "if met := []:"),
    writes("call.kit.world.now()) if each.task != task.id]", "call.kit.world.now())]"),
    writes("if wanted.holds > MOST_FILES or", "if"),
    writes("or len(others) + wanted.holds > MOST_LOCKS:", ":"),
    writes("if wanted.taken:\n        await _may_hold(call, registry, wanted)\n    if wanted.changes:", "if wanted.changes:"),
    writes("        await tasks.release(task.id, wanted.given_back)\n", ""),
    writes("if status is not task.status and status not in (allowed := next_of(task.status)):", "if (allowed := ()):"),
    writes("if not status.open and (params.add_files or params.lock_ttl):", "if False:"),
    writes("live = [each for each in kept if each.holds(now)]", "live = kept"),
    writes("*(rest if task.branch != was.branch else ())", "*()"),
    writes("_draft_update(params, wanted).still_fits(params)", "_draft_update(params, wanted)"),
)

ends = guards_of("tools/task_completes.py", TASKS)
ENDED = (
    ends("if (params.task_id is None) is (params.commit_message is None):", "if False:"),
    ends("if found is None or not call.actor.sees_project(found.project, found.team):", "if found is None:"),
    ends("if found.tool not in BRINGS_LIVE or found.state", "if found.state"),
    ends("or found.state is not OpState.SUCCEEDED:", ":"),
    ends("if projects - {task.project}:", "if False:"),
    ends("tasks += [] if projects - {task.project} else [task]", "tasks += [task]"),
    ends("_draft(found).still_fits(params)", "_draft(found)"),
)

moves = guards_of("tools/task_moves.py", TASKS)
MOVED = (
    moves("    if task.status.open:\n", "    if True:\n"),
    moves("if operation_id is not None and after.status is Status.DONE:", "if operation_id is not None:"),
    moves("    await registry.tasks.release(task.id)\n", ""),
)

store = guards_of("drivers/store/work.py", CONTRACT)
STORED = (
    store("            await self._pass_on(project, now)\n", ""),
    store("return task == lock.task or branch != lock.branch", "return False"),
    store("return task == lock.task or branch != lock.branch", "return task == lock.task"),
    store("values(until=None, first=False)", "values(until=None)"),
    store("self._load((_FILES.project == project) & (_FILES.until > now))", "self._load(_FILES.project == project)", TASKS),
)

GUARDS: tuple[Guard, ...] = (*GRAMMAR, *MODEL, *SEEN, *WRITTEN, *ENDED, *MOVED, *STORED)
