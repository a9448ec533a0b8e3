"""model/workflow and its texts, entry/cli/workflow_files: what a generated workflow may do, and where it is written."""

from tests.mutants.guard import Guard, guards_of

UNIT, RUN = "unit/model/test_workflow.py", "unit/entry/cli/test_workflow_files.py"

texts = guards_of("model/workflow.py", UNIT)
TEXTS = (
    texts("    _held(wanted)\n", ""),
    texts("    if grammar.project_name(wanted.project) != wanted.project:", "    if False:"),
    texts("    refs.branch(wanted.branch)\n", ""),
    texts("        grammar.tree_path(wanted.context)\n", "        pass\n"),
    texts("    url(wanted.server_url)\n", ""),
    texts("        url(wanted.s3_endpoint)\n", ""),
    texts("        bucket(wanted.s3_bucket)\n", ""),
    texts("    return seal is not None and seal[1] == _sum(rest)", "    return seal is not None"),
    texts('"github.event.pull_request.head.repo.full_name == github.repository"', '"true"'),
    texts("\" && github.event.pull_request.user.login != 'dependabot[bot]'\"", '""'),
    texts("github.ref == '{here}' && (github.event_name", "(github.event_name"),
    texts("github.ref == '{here}' && github.event_name", "github.event_name"),
    texts("permissions:\\n  contents: read", "permissions:\\n  contents: write"),
    texts('_build(wanted, "previews")', '_build(wanted, "latest")'),
)

form = guards_of("model/workflow_yaml.py", UNIT)
FORM = (
    form("if not value.isascii() or not value.isprintable():", "if False:"),
    form("          persist-credentials: false\\n", ""),
    form("actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "actions/checkout@v6"),
)

steps = guards_of("model/workflow_steps.py", UNIT)
STEPS = (steps('  echo "::stop-commands::$word"\n', ""), steps("od -An -N16 -tx1 /dev/urandom", "echo 0"))

files = guards_of("entry/cli/workflow_files.py", RUN)
FILES = (
    files("    if not PLACE.fullmatch(name):", "    if False:"),
    files("there.is_symlink() or ", ""),
    files("    if own and not force and not dry:", "    if False:"),
    files("and not workflow.untouched(self.before)", ""),
    files("    if not dry:\n        _write(file)", "    _write(file)"),
)

GUARDS: tuple[Guard, ...] = (*TEXTS, *FORM, *STEPS, *FILES)
