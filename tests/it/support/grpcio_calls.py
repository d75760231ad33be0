"""Makes calls with the real grpcio client, all at once, and tells how each ended.

Standard input: a line for each call, `PATH SECONDS BODY`, the body (a serialized message) in hexadecimal.
Standard output: a line for each, in the same order, `CODE MILLISECONDS DETAILS MESSAGE`, with the code's number, and
`grpc-status-details-bin` in hexadecimal (`-` without one).
"""

import queue
import sys
import time

import grpc


def main() -> None:
    lines = [line.split() for line in sys.stdin]
    with grpc.insecure_channel(sys.argv[1]) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        calls = [begin(channel, path, float(seconds), bytes.fromhex(body)) for path, seconds, body in lines]
        for call, began, ended in calls:
            took = round((ended.get() - began) * 1000)
            details = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin", b"").hex() or "-"
            print(call.code().value[0], took, details, call.details() or "", flush=True)


def begin(channel, path, seconds, body):
    method = channel.unary_unary(path)
    ended = queue.Queue()
    began = time.monotonic()
    call = method.future(body, timeout=seconds)
    call.add_done_callback(lambda _: ended.put(time.monotonic()))
    return call, began, ended


if __name__ == "__main__":
    main()
