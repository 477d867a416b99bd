"""Lends the enclave's door to one TCP connection at a time.

Everything that passes is already fit for a hostile host: requests carry their proofs, secrets are sealed, replies are
signed. So the connection is plain, and whoever can reach the port can waste the enclave's time and nothing else. Each
connection is one life of the enclave: it ends with the connection, and the next one boots again.

    python -I -B door.py --port 7000 -- --platform dstack
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys

STOP_TIMEOUT_S = 10


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Lend the enclave's door to one TCP connection at a time.")
    parser.add_argument("--address", default="0.0.0.0", help="address to listen on")  # noqa: S104  a container's own
    parser.add_argument("--port", type=int, required=True, help="TCP port; 0 picks one and prints it")
    parser.add_argument("enclave", nargs="+", help="arguments of python -m goldengrain_enclave, after --")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    command = [sys.executable, "-I", "-B", "-m", "goldengrain_enclave", *options.enclave]
    with socket.create_server((options.address, options.port)) as listener:
        sys.stderr.write(f"door: listening on port {listener.getsockname()[1]}\n")
        sys.stderr.flush()
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                serve(command, connection)


def serve(command: list[str], connection: socket.socket) -> None:
    """Run one enclave whose standard input and output are the connection."""
    enclave = subprocess.Popen(command, stdin=connection.fileno(), stdout=connection.fileno())
    try:
        code = enclave.wait()
    except BaseException:
        enclave.terminate()
        enclave.wait(STOP_TIMEOUT_S)
        raise
    sys.stderr.write(f"door: the enclave ended with code {code}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
