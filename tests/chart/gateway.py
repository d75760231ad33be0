"""A gateway in `dev` mode, for tests that need one to ask."""

import contextlib
import socket
import subprocess

import chart


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.contextmanager
def after_its_tour():
    """Addresses of gRPC and HTTP of a gateway that has played its tour: promise, order, cancellation, an intent."""
    grpc, http, emulator = (f"127.0.0.1:{free_port()}" for _ in range(3))
    command = [chart.tool("ORDER_GATEWAY"), "dev", "--tour", "--grpc-listen", grpc, "--http-listen", http, "--emulator-listen", emulator]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            if not any(line.startswith("That was the tour.") for line in process.stdout):
                raise AssertionError("the gateway did not play its tour")
            yield grpc, http
        finally:
            process.terminate()
