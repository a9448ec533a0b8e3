"""What a source tree is: type, port, health path, each with where it was seen; and hostile trees, read too (S2, S33)."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeb.model import dockerfile, grammar, source
from codeb.model.source import Fact, Portrait, listens, portrait, tells

NEXT = json.dumps({"name": "@acme/My_Shop", "dependencies": {"next": "15.1.0"}, "scripts": {"start": "next start -p 3005"}})
EXPRESS = json.dumps({"name": "api", "dependencies": {"express": "5"}, "scripts": {"start": "node server.js"}})


def of(files: dict[str, str | None]) -> Portrait:
    return portrait(files)


@pytest.mark.parametrize(
    ("files", "kind", "port"),
    [
        ({"package.json": NEXT}, "nextjs", 3005),
        ({"package.json": "{}", "next.config.mjs": None}, "nextjs", 3000),
        ({"package.json": json.dumps({"devDependencies": {"@remix-run/dev": "2"}})}, "remix", 3000),
        ({"package.json": EXPRESS}, "nodejs", 3000),
        ({"requirements.txt": "# web\nFastAPI[standard]>=0.110\n-r more.txt\n"}, "python", 8000),
        ({"requirements.txt": "flask==3.0\r\n"}, "python", 5000),
        ({"pyproject.toml": '[project]\nname = "shop"\ndependencies = ["streamlit"]\n'}, "python", 8501),
        ({"pyproject.toml": '[tool.poetry]\nname = "shop"\n[tool.poetry.dependencies]\nDjango = "^5"\n'}, "python", 8000),
        ({"Pipfile": '[packages]\nflask = "*"\n'}, "python", 5000),
        ({"manage.py": None}, "python", 8000),
        ({"go.mod": "module example.com/team/shop/v2\n\ngo 1.22\n"}, "go", 8080),
        ({"Dockerfile": "FROM nginx:1.27\n"}, "docker", 80),
        ({"Dockerfile": "FROM registry.example.com/team/thing\n"}, "docker", None),
        ({"README.md": None}, None, None),
        # a package.json that starts nothing is there for style sheets
        ({"package.json": '{"devDependencies": {"tailwindcss": "4"}}', "manage.py": None}, "python", 8000),
        ({"package.json": EXPRESS, "requirements.txt": "flask"}, "nodejs", 3000),
    ],
)  # fmt: skip
def test_the_type_and_where_it_listens(files: dict[str, str | None], kind: str | None, port: int | None) -> None:
    found = of(files)
    assert (found.type and found.type.value, found.container_port and found.container_port.value) == (kind, port)


@pytest.mark.parametrize(
    ("lines", "port", "where"),
    [
        ("FROM a\nEXPOSE 8080", 8080, "Dockerfile line 2: EXPOSE 8080"),
        ("FROM a\r\n  expose\t8080/tcp 53/udp\r\n", 8080, "Dockerfile line 2: EXPOSE 8080"),
        ("\ufeffFROM a\n# EXPOSE 1\nEXPOSE 8080", 8080, "Dockerfile line 3: EXPOSE 8080"),
        ("FROM a\nARG P=8081\nEXPOSE $P", 8081, "Dockerfile line 3: EXPOSE 8081"),
        ("ARG P=8082\nFROM a\nARG P\nEXPOSE ${P}", 8082, "Dockerfile line 4: EXPOSE 8082"),
        ("FROM a\nENV A=1 PORT='8083'\nEXPOSE ${PORT:-1}", 8083, "Dockerfile line 3: EXPOSE 8083"),
        ("FROM a\nEXPOSE ${PORT:-8084}", 8084, "Dockerfile line 2: EXPOSE 8084"),
        ("FROM a AS one\nEXPOSE 1\nFROM a\nEXPOSE 8085", 8085, "Dockerfile line 4: EXPOSE 8085"),
        ("FROM a AS One\nEXPOSE 8086\nFROM b AS two\nEXPOSE 2\nFROM one", 8086, "Dockerfile line 2: EXPOSE 8086"),
        ("FROM a\nEXPOSE 9229 8087\nENV PORT 8087", 8087, "Dockerfile line 2: EXPOSE 8087"),
        ('FROM a\nCMD ["uvicorn", "app:app", "--port", "8088"]', 8088, "Dockerfile line 2: CMD"),
        ("FROM a\nENTRYPOINT gunicorn app:app -b 0.0.0.0:8089", 8089, "Dockerfile line 2: ENTRYPOINT"),
        ('FROM a\nCMD ["bash", "-c", "exec uvicorn a:b --port=${PORT:-8090}"]', 8090, "Dockerfile line 2: CMD"),
        ("FROM a\nCMD x --port 1\nENTRYPOINT y\nENV PORT=8091", 8091, "Dockerfile line 4: ENV PORT=8091"),
        ("FROM a\nRUN <<EOF\nEXPOSE 1\nEOF\nEXPOSE 8092", 8092, "Dockerfile line 5: EXPOSE 8092"),
        ("FROM a\nRUN x \\\n# EXPOSE 2\n\n  EXPOSE 1\nEXPOSE 8093", 8093, "Dockerfile line 6: EXPOSE 8093"),
        ("# escape=`\nFROM a\nRUN x `\n EXPOSE 1\nEXPOSE 8094", 8094, "Dockerfile line 5: EXPOSE 8094"),
    ],
)  # fmt: skip
def test_the_port_as_docker_reads_its_file(lines: str, port: int, where: str) -> None:
    assert of({"Dockerfile": lines, "package.json": EXPRESS}).container_port == Fact(port, where)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("FROM a\nEXPOSE $PORT", "Dockerfile line 2"),
        ("FROM a\nEXPOSE 7000-7010", "Dockerfile line 2"),
        ("FROM a\nEXPOSE 99999", "Dockerfile line 2"),
        ("FROM a\nEXPOSE x/tcp", "Dockerfile line 2"),
        ("FROM a\n\nENV A='", "Dockerfile line 3"),
        ("FROM a\nENV A=" + "x" * 5000, "Dockerfile line 2"),
        # an ARG before the first stage is not known inside one
        ("ARG P=1\nFROM a\nEXPOSE $P", "Dockerfile line 3"),
    ],
)
def test_what_cannot_be_told_is_said_with_its_line(lines: str, said: str) -> None:
    found = of({"Dockerfile": lines, "go.mod": "module a"})
    assert [each.where for each in found.unread] == [said]
    assert found.container_port is not None
    assert found.container_port.value == 8080


def test_two_that_say_different_ports_are_told() -> None:
    found = of({"Dockerfile": "FROM a\nEXPOSE 8080\nCMD x --port 8081", "Procfile": "web: y --port 8080\n"})
    assert found.container_port is not None
    assert found.container_port.value == 8080
    assert found.beside == ("Dockerfile line 3: CMD says port 8081; 8080 is taken",)


@pytest.mark.parametrize(
    ("words", "port"),
    [
        ("next start -p 3001", 3001), ("PORT=3002 node server.js", 3002), ("cross-env PORT=3003 node .", 3003),
        ("python manage.py runserver 0.0.0.0:8001", 8001), ("gunicorn -b :8002 a:b", 8002), ("x --bind=[::]:8003", 8003),
        ("x --port $PORT", None), ("x --port", None), ("x --port 0", None), ("x --port 8_0", None), ("x -p", None),
        ("mkdir -p build", None), ("x --port \u0668\u0660", None), ("", None),
    ],
)  # fmt: skip
def test_the_port_of_a_command_line(words: str, port: int | None) -> None:
    assert listens(dockerfile.split(words)) == port


@pytest.mark.parametrize(
    ("files", "path", "where"),
    [
        ({"Dockerfile": "FROM a\nHEALTHCHECK --interval=5s CMD curl -f http://localhost:80/up/well || exit 1"}, "/up/well",
         "Dockerfile line 2: HEALTHCHECK"),
        ({"app/api/health/route.ts": None}, "/api/health", "app/api/health/route.ts"),
        ({"src/app/healthz/route.js": None}, "/healthz", "src/app/healthz/route.js"),
        ({"pages/api/healthz.js": None}, "/api/healthz", "pages/api/healthz.js"),
        ({"app/routes/api.health.tsx": None}, "/api/health", "app/routes/api.health.tsx"),
        ({"server.js": "a\napp.get('/healthz', ok)"}, "/healthz", "server.js line 2"),
        ({"src/main.py": '@app.get("/health")\n@app.get("/ping")'}, "/health", "src/main.py line 1"),
        ({"shop/urls.py": 'path("health/", ok)'}, "/health/", "shop/urls.py line 1"),
        ({"cmd/shop/main.go": 'mux.HandleFunc("GET /readyz", ok)'}, "/readyz", "cmd/shop/main.go line 1"),
    ],
)  # fmt: skip
def test_the_health_path(files: dict[str, str | None], path: str, where: str) -> None:
    assert of(files).health_path == Fact(path, where)


@pytest.mark.parametrize(
    "files",
    [
        {"server.js": "// app.get('/health', ok)"},
        {"server.js": "fetch('/health')"},
        {"main.py": '# @app.get("/health")'},
        {"Dockerfile": "FROM a\nHEALTHCHECK CMD curl http://localhost/up\nHEALTHCHECK NONE"},
        {"Dockerfile": "FROM a\nHEALTHCHECK CMD curl http://localhost/../x"},
        {"Dockerfile": "FROM a\nHEALTHCHECK CMD curl http://localhost/"},
        {"test/app.test.js": "app.get('/health')"},
    ],
)
def test_what_is_no_route_is_not_taken_for_one(files: dict[str, str | None]) -> None:
    found = of(files)
    assert found.health_path is None
    assert "health path" in [each.name for each in found.gaps]


def test_the_name_is_a_projects() -> None:
    for files, name in (
        ({"package.json": NEXT}, "my-shop"),
        ({"go.mod": "module example.com/team/Shop.Web/v3"}, "shop-web"),
        ({"package.json": '{"name": "x-production"}'}, None),
        ({"package.json": '{"name": 7}', "pyproject.toml": '[project]\nname = "py"'}, "py"),
    ):
        found = of(dict(files))
        assert (found.name.value if found.name else None) == name


def test_what_is_missing_is_said_with_its_fix_and_a_whole_tree_lacks_nothing() -> None:
    assert [each.name for each in of({"a": None}).gaps] == ["type", "Dockerfile", "port", "health path", "workflow"]
    whole = {
        "Dockerfile": "FROM a\nEXPOSE 80\n", ".dockerignore": None, "app/api/health/route.ts": None, "package.json": NEXT,
        ".github/workflows/release.yml": "run: we deploy . --promote",
    }  # fmt: skip
    assert of(whole).gaps == ()
    assert of(whole).workflow == ".github/workflows/release.yml"
    assert of({**whole, ".github/workflows/release.yml": "run: make test"}).workflow == ""
    assert [each.name for each in of({"Dockerfile": "FROM nginx"}).gaps] == [".dockerignore", "health path", "workflow"]
    assert all(each.fix for each in of({"a": None}).gaps)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("package.json", "{"), ("package.json", "[1]"), ("package.json", '{"dependencies": 7, "scripts": []}'),
        ("package.json", "[" * 60_000), ("package.json", '{"a":' * 20_000), ("package.json", "9" * 60_000),
        ("package.json", "caf\ufffd"), ("pyproject.toml", "= 1"), ("pyproject.toml", "project = 7"),
        ("pyproject.toml", "a = " + "[" * 30_000), ("pyproject.toml", ".".join("a" * 30_000) + " = 1"),
        ("pyproject.toml", "[" + ".".join("a" * 100) + "]\n" + "".join(f"k{n} = 1\n" for n in range(6000))),
        ("pyproject.toml", "project.dependencies = [7]\ntool = []"),
        ("go.mod", "module"), ("go.mod", "\0"), ("Procfile", "web: '"), ("Procfile", "web:" + "'" * 60_000),
        ("requirements.txt", "a" * 60_000), ("Dockerfile", "\\\n" * 30_000), ("Dockerfile", "FROM a\nRUN <<A <<B"),
        ("Dockerfile", "FROM a\nENV A=aa\n" + "ENV A=$A$A\n" * 6000), ("Dockerfile", "FROM\nFROM  AS x\nEXPOSE 1"),
        ("Dockerfile", "EXPOSE 80\nCMD x"), ("Dockerfile", 'FROM a\nCMD [1, {"a": []}]'),
        ("Dockerfile", "FROM a\nCMD " + "[" * 4000), ("Dockerfile", "FROM a\nEXPOSE " + "${A:-" * 800),
        ("Dockerfile", "FROM a AS a\n" * 9000), ("Dockerfile", "$" * 60_000),
        ("main.py", ".get(" * 12_000), ("main.py", "path" + " " * 60_000), ("main.py", "'/health'" * 7000),
    ],
)  # fmt: skip
def test_hostile_files_are_read_in_no_time(path: str, text: str) -> None:
    began = time.monotonic()
    found = of({path: text})
    assert time.monotonic() - began < 2.0
    assert found.container_port is None or isinstance(found.container_port.value, int)
    assert all(len(each.why) < 300 for each in found.unread)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(["FROM a", "EXPOSE ", "ENV PORT=", "ARG A=1", "$A", "${A", "80", "\\\n", "\n", "CMD ", '["', "'", "<<E"])
    ),
)
def test_any_text_is_read(noise: str, parts: list[str]) -> None:
    for text in (noise, "".join(parts), "FROM a\n" + noise):
        found = of(dict.fromkeys(("Dockerfile", "package.json", "pyproject.toml", "go.mod", "Procfile", "src/main.py"), text))
        if found.health_path is not None:
            grammar.health_path(str(found.health_path.value))


def test_which_files_are_worth_reading() -> None:
    assert all(map(tells, ("Dockerfile", "package.json", "src/app/main.py", "server.ts", ".github/workflows/x.yaml")))
    assert not any(map(tells, (".env", "a/b/c/d/main.py", "src/Dockerfile", "main.rs", "x/.github/workflows/a.yml")))


def test_a_file_that_was_not_read_is_said() -> None:
    assert [each.where for each in of({"Dockerfile": None, "README.md": None, "main.py": None}).unread] == ["Dockerfile"]


def test_stages_on_stages_take_no_memory_to_speak_of() -> None:
    """Each has what the one before has: a text within its limit would be copied thousands of times (S33)."""
    large = "FROM x\n" + "".join(f"ENV a{number}=\n" for number in range(3000))
    text = large + "FROM 0\n" * ((source.MOST_OF_A_FILE - len(large)) // 7)
    tracemalloc.start()
    try:
        found = portrait({"Dockerfile": text})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 50_000_000
    assert [each.why for each in found.unread] == ["it has more than 100 stages"]
