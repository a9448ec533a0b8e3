"""Ask the Docker Engine on a unix socket whether it answers. Standard library only: it runs before anything is installed.

    python3 scripts/docker_ping.py /var/run/docker.sock

Exit code 0: it answers, its version is printed; 3: nothing answers; 4: this user may not use the socket.
"""

import http.client
import json
import socket
import sys

SECONDS = 5.0


def version(path: str) -> str:
    """What the Engine says of itself. Raises `OSError`, `http.client.HTTPException`, `ValueError`."""
    connection = http.client.HTTPConnection("docker", timeout=SECONDS)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(SECONDS)
        line.connect(path)
        connection.sock = line
        connection.request("GET", "/version")
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200 or "ApiVersion" not in said:
            raise ValueError(f"not a Docker Engine: {answer.status}")
        return f"{said.get('Version', '?')} (API {said['ApiVersion']})"
    finally:
        line.close()


def main() -> int:
    try:
        print(version(sys.argv[1]))
    except PermissionError:
        return 4
    except (OSError, http.client.HTTPException, ValueError):
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
