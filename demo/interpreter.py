"""This machine's Python as a file tree: what a container needs to run it, found and packed."""

import hashlib
import io
import json
import os
import py_compile
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from codeb.errors import Unavailable

# Raised when the way of packing changes: images made the old way are then not found any more.
RECIPE = "1"
LEFT_OUT = frozenset({"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data"})
LEFT_OUT |= {"site-packages", "dist-packages", "__pycache__"}
# Opened by glibc itself (thread exit, name look-up), so that ldd does not list them.
UNLISTED = frozenset({"libgcc_s.so.1", "librt.so.1", "libdl.so.2", "libpthread.so.0", "libutil.so.1", "libresolv.so.2"})
UNLISTED |= {"libnss_files.so.2", "libnss_dns.so.2"}
# Found by the dynamic linker without being told.
LINKER_FOLDERS = re.compile(r"/(usr/)?lib(64)?(/[a-z0-9_]+-linux-gnu[a-z0-9]*)?")
# What demo/app.py and demo/probe.py import: compiled into the image, or each start would compile it anew (150 ms).
IMPORTED = "asyncio, binascii, contextlib, hashlib, json, signal, socket, struct, encodings.idna"


LIST = f"""
import {IMPORTED}, json, sys
print(json.dumps([m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)]))
"""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter, its standard library and the shared libraries they load, by their paths on this machine."""

    program: Path
    library: Path
    files: tuple[Path, ...]
    shared: tuple[Path, ...]

    @classmethod
    def of_this_machine(cls) -> "Interpreter":
        """The interpreter below any virtual environment.

        Raises `Unavailable` when this machine is not a Linux with glibc: no container can run its Python.
        """
        if not sys.platform.startswith("linux"):
            raise Unavailable("Images can only be made from the Python of a Linux machine.", hint="Use Linux.")
        program = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        library = Path(sysconfig.get_path("stdlib"))
        files = tuple(_standard_library(library))
        return cls(program, library, files, _shared_libraries(program, [f for f in files if ".so" in f.name]))

    def fingerprint(self) -> str:
        """Changes when any packed file changes (by path, size and time of change)."""
        digest = hashlib.sha256(RECIPE.encode())
        for path in (self.program, *self.files, *self.shared):
            facts = path.stat()
            digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def environment(self) -> dict[str, str]:
        """The variables the image needs."""
        variables = {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        odd = sorted({str(path.parent) for path in self.shared if not LINKER_FOLDERS.fullmatch(str(path.parent))})
        return variables | ({"LD_LIBRARY_PATH": ":".join(odd)} if odd else {})

    def pack(self, archive: tarfile.TarFile) -> None:
        """Write the tree: everything at its own path, links followed, plus /usr/bin/python3 and an empty /tmp."""
        for path in (self.program, *self.shared, *self.files):
            entry = archive.gettarinfo(str(path.resolve()), str(path).lstrip("/"))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with path.open("rb") as content:
                archive.addfile(entry, content)
        if str(self.program) != "/usr/bin/python3":
            link = tarfile.TarInfo("usr/bin/python3")
            link.type, link.linkname = tarfile.SYMTYPE, str(self.program)
            archive.addfile(link)
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(temporary)
        _add(archive, "etc/passwd", b"root:x:0:0::/:\napp:x:10001:10001::/app:\n")
        for name, code in self._compiled():
            _add(archive, name.lstrip("/"), code)

    def _compiled(self) -> list[tuple[str, bytes]]:
        """Bytecode of the modules of the app: never checked against its source, so it does not depend on times."""
        run = subprocess.run([str(self.program), "-I", "-c", LIST], capture_output=True, check=True, timeout=30)
        compiled = []
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "module.pyc")
            for name in sorted(set(json.loads(run.stdout))):
                path = Path(name)
                if path.suffix == ".py" and path in self.files:
                    py_compile.compile(name, str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
                    cached = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
                    compiled.append((str(cached), target.read_bytes()))
        return compiled


def _standard_library(library: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("config-"))
        found += [Path(folder, name) for name in sorted(names) if not name.endswith((".a", ".pyc"))]
    return [path for path in found if path.is_file()]


def _shared_libraries(program: Path, modules: list[Path]) -> tuple[Path, ...]:
    """What ldd finds for the interpreter and its modules, and what glibc opens by itself."""
    try:
        run = subprocess.run(["ldd", str(program), *map(str, modules)], capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise Unavailable("Without ldd the libraries of Python cannot be found.", hint="Install it.") from error
    found = set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", run.stdout, re.MULTILINE))
    libc = next((Path(name).parent for name in sorted(found) if name.rsplit("/", 1)[-1] == "libc.so.6"), None)
    if libc is None:
        raise Unavailable("The Python of this machine does not use glibc.", hint="Use Debian, for example.")
    found.update(str(libc / name) for name in UNLISTED if (libc / name).exists())
    return tuple(Path(name) for name in sorted(found))


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
