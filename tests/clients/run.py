"""Has every client create orders at a `dev`, all at once, and compares what they print and what the emulator made.

run.py GATEWAY NAME=COMMAND...: the program `order-gateway`, and for each client its command, to which address and root are added.
"""

import concurrent.futures
import json
import pathlib
import re
import shlex
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A repeat is answered from the ledger. A call whose outcome is not known at its deadline is repeated until it is, and ends with the one
# order. Other content under a used number is refused, by ErrorInfo. Some clients have the details of a call that ran out of time, others,
# which try again by themselves until the deadline, do not.
EXPECTED = r"""
NAME: ACCEPTED created
NAME: ACCEPTED replayed
(NAME: (UNAVAILABLE|DEADLINE_?EXCEEDED) .*
)+NAME: ACCEPTED (created|replayed)
NAME: ALREADY_?EXISTS ORDER_NUMBER_USED.*
NAME: refused
"""


def run(name, command, address):
    done = subprocess.run(
        [*shlex.split(command), address, str(ROOT)], capture_output=True, text=True, timeout=120, check=False
    )
    print(done.stdout, done.stderr, sep="", end="", flush=True)
    if done.returncode != 0:
        return f"{name} ended with {done.returncode}"
    expected = EXPECTED.strip().replace("NAME", name) + r"\s*"
    if not re.fullmatch(expected, done.stdout, re.IGNORECASE):
        return f"{name} printed something else than expected"
    return None


def made(emulator):
    """Orders at Walmart's side: how many of each number."""
    with urllib.request.urlopen(f"http://{emulator}/_emulator/v1/orders", timeout=10) as answer:
        return json.load(answer)


def main():
    gateway, *clients = sys.argv[1:]
    clients = dict(client.split("=", 1) for client in clients)
    ports = ["--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--emulator-listen=127.0.0.1:0"]
    with subprocess.Popen([gateway, "dev", *ports], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            addresses = {}
            for line in process.stderr:
                if found := re.match(r"  (gRPC|Emulator) +(\S+)", line):
                    addresses[found[1]] = found[2]
                if line.startswith("Ready"):
                    break
            with concurrent.futures.ThreadPoolExecutor() as all_at_once:
                # The rest of the gateway's log is read, so that it does not wait for a reader.
                all_at_once.submit(process.stderr.read)
                faults = list(all_at_once.map(lambda client: run(*client, addresses["gRPC"]), clients.items()))
                orders = made(addresses["Emulator"])
                process.terminate()
        finally:
            process.kill()
    numbers = sorted(order["order_number"] for order in orders["orders"])
    for name in clients:
        for number in (f"{name.upper()}-1", f"MAGIC-DROP-AFTER-{name.upper()}"):
            if numbers.count(number) != 1:
                faults.append(f"{numbers.count(number)} orders have the number {number}")
    faults = [fault for fault in faults if fault]
    print(*faults, sep="\n")
    print(f"clients: {len(clients)} made their orders" if not faults else "clients: FAILED")
    return len(faults)


if __name__ == "__main__":
    sys.exit(main() != 0)
