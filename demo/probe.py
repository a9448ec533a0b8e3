"""The health check inside the image (it has no curl): exit 0 when GET /health answers 200 within 3 s."""

import os
import socket
import sys


def main() -> int:
    try:
        with socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "3000"))), timeout=3) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status = connection.recv(64).split(b" ")[1:2]
    except OSError as error:
        print(error)
        return 1
    print(status)
    return 0 if status == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
