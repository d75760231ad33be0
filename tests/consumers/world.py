"""The processes of a run: Walmart's emulator, the gateway and two consumers, in one folder."""

import base64
import hashlib
import hmac
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import grpc
from ordergateway.v1 import cancel_intents_pb2_grpc, gateway_pb2_grpc, operation_pb2, seller_order_changes_pb2
from ordergateway.v1 import seller_orders_pb2, seller_orders_pb2_grpc, subscription_pb2

import check
import plan

TOKEN = "consumers-test"
SECRET = "webhook-secret"
SUBSCRIPTION = "cancel-desk"
# Calls of the driver wait for a gateway that is just starting.
CALL = {"metadata": [("authorization", f"Bearer {TOKEN}")], "wait_for_ready": True, "timeout": 60}
NAMES = ("a", "b")

# Windows and delays are a fortieth of the usual ones.
SETTINGS = """
[grpc]
listen = "127.0.0.1:{grpc}"
[http]
listen = "127.0.0.1:{http}"
[store]
url = "sqlite://{folder}/store.db"
[walmart]
profile = "sandbox"
base_url = "http://127.0.0.1:{emulator}"
attempt_timeout = "1s"
# The emulator's order with an intent to cancel is nobody's in the plan.
[feed.backfill]
enabled = false

[walmart.limits]
cancel_lines = 6000
order = 6000
[ledger]
settle_window = "3s"
lookup_delays = ["50ms", "150ms", "500ms", "1s", "2s", "3s"]
[[accounts]]
id = "demo"
partner_id = "{seller}"
client_id = "demo"
client_secret = "demo-secret"
[accounts.webhook]
auth = "hmac"
secret = "{secret}"
[[clients]]
name = "desk"
token = "{token}"
accounts = ["demo"]
"""

# Walmart carries a cancellation out at once and answers later, so that kills fall in between. Some answers are lost,
# and some calls are throttled.
FAULTS = """
seed = {seed}
[[fault]]
operation = "cancel_lines"
probability = 0.1
drop = "after"
count = 1
[[fault]]
operation = "cancel_lines"
probability = 0.1
status = 429
count = 1
[[fault]]
operation = "cancel_lines"
probability = 0.7
delay = "200ms"
"""


class World:
    """Starts and kills the processes."""

    def __init__(self, gateway, command, root, folder, seed):
        self.program, self.command, self.root, self.folder = gateway, command, root, folder
        self.grpc, self.http, self.emulator = free_ports(3)
        self.processes, self.log = {}, open(folder / "log", "ab", buffering=0)
        settings = SETTINGS.format(
            grpc=self.grpc, http=self.http, emulator=self.emulator, folder=folder,
            seller=plan.SELLER, secret=SECRET, token=TOKEN,
        )  # fmt: skip
        (folder / "settings.toml").write_text(settings)
        (folder / "faults.toml").write_text(FAULTS.format(seed=seed))
        webhook = ["--webhook-url", f"http://127.0.0.1:{self.http}/webhooks/walmart/demo", "--webhook-secret", SECRET]
        address, faults = f"127.0.0.1:{self.emulator}", ["--faults", str(folder / "faults.toml")]
        self.run("emulator", [gateway, "emulate", "--listen", address, "--limit-scale", "1000", *faults, *webhook])
        self.start("gateway")
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc}", [("grpc.max_reconnect_backoff_ms", 500)])
        self.intents = cancel_intents_pb2_grpc.CancelIntentServiceStub(self.channel)
        self.operator = gateway_pb2_grpc.GatewayServiceStub(self.channel)
        self.orders = seller_orders_pb2_grpc.SellerOrderServiceStub(self.channel)
        until(lambda: self.control("orders") is not None, "the emulator")
        grpc.channel_ready_future(self.channel).result(timeout=60)

    def run(self, name, command, **variables):
        environment = os.environ | variables
        self.processes[name] = subprocess.Popen(
            command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )

    def start(self, name):
        """Starts the gateway, or a consumer by its name."""
        if name == "gateway":
            self.run(name, [self.program, "serve", "--config", str(self.folder / "settings.toml"), "--log-format", "human"])
        else:
            self.run(name, shlex.split(self.command), **self.settings_of(name))

    def settings_of(self, consumer, token=TOKEN):
        return {
            "GATEWAY_ADDRESS": f"127.0.0.1:{self.grpc}",
            "GATEWAY_TOKEN": token,
            "GATEWAY_ACCOUNT": "demo",
            "GATEWAY_SUBSCRIPTION": SUBSCRIPTION,
            "CONSUMER_ID": consumer,
            "OUTPUT_FOLDER": str(self.folder / "out"),
        }

    def kill(self, *names):
        """Kills at once, and checks that nothing had ended by itself before."""
        for name in names:
            if (code := self.processes[name].poll()) is not None:
                raise RuntimeError(f"{name} ended by itself with {code}")
            self.processes[name].kill()
        for name in names:
            self.processes[name].wait()

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.channel.close()
        self.log.close()

    def stop_consumers(self):
        for name in NAMES:
            self.processes[name].send_signal(signal.SIGTERM)
            self.processes[name].wait()

    def refused(self):
        """What a consumer with a wrong token does: it has to say why and to end with 1. Returns what is wrong."""
        environment = os.environ | self.settings_of("stranger", "wrong")
        command, output = shlex.split(self.command), {"capture_output": True, "text": True}
        ended = subprocess.run(command, cwd=self.root, env=environment, timeout=60, check=False, **output)
        told = ended.stderr.strip()
        if ended.returncode != 1 or "CALLER_UNAUTHENTICATED" not in told or len(told.splitlines()) != 1:
            yield f"with a wrong token it ends with {ended.returncode} and says: {told}"

    def control(self, path, body=None):
        """Calls the control API or a simulation of the emulator. Returns None when it refuses or is not there."""
        path = path if path.startswith("v1/") else f"_emulator/v1/{path}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.emulator}/{path}", data, timeout=10) as answer:
                return json.load(answer)
        except (OSError, urllib.error.HTTPError):
            return None

    def simulate(self, case):
        if case.simulated:
            lines, units, status = case.simulated
            order = {"purchaseOrderId": case.order, "lines": lines, "units": units, "status": status}
            if self.control("v1/simulations/orders", order) is None:
                raise RuntimeError(f"the emulator does not make {order}")
        if case.done_before:
            self.orders.CancelOrderLines(cancellation(case), **CALL)

    def post(self, case):
        """Posts the intent until it is stored."""
        for envelope in case.envelopes:
            if case.by_emulator:
                self.ask_emulator(case)
            else:
                body = json.dumps(event(case, envelope)).encode()
                until(lambda body=body: self.posted(body), f"the webhook of {case.order}")

    def ask_emulator(self, case):
        """Has the emulator post what the lines say, again when its three tries have found no gateway."""
        for line in case.says if len(case.says) < case.simulated[0] else [None]:
            wish = {"purchase_order_id": case.order} | ({"line_id": line} if line else {})
            ids = (self.control("intents", wish) or {"event_ids": []})["event_ids"]
            if not ids:
                raise RuntimeError(f"the emulator has nothing to post for {wish}")

            def stored(ids=ids, wish=wish):
                for delivery in self.control("intents")["intents"]:
                    if delivery["event_id"] in ids and not delivery["delivered"]:
                        # Nothing is left to cancel when a try was stored although its answer was lost.
                        ids[:] = (self.control("intents", wish) or {"event_ids": []})["event_ids"]
                    elif delivery["event_id"] in ids:
                        return True
                return not ids

            until(stored, f"the intent of {case.order}")

    def posted(self, body):
        proof = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
        headers = {"Content-Type": "application/json", "X-Walmart-Auth": proof}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/webhooks/walmart/demo", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def subscription(self):
        """The subscription, None before the first consumer has made it."""
        request = subscription_pb2.GetSubscriptionRequest(name=SUBSCRIPTION)
        try:
            return self.intents.GetSubscription(request, **CALL).subscription
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise

    def decide(self, cases):
        """Rejects, as an operator, doubts about orders that Walmart does not have. Returns whether all is settled."""
        strangers = {case.order for case in cases if not case.simulated}
        open_ones = operation_pb2.ListOperationsRequest(states=["OPERATION_STATE_UNKNOWN", "OPERATION_STATE_NEEDS_OPERATOR"])
        for operation in self.operator.ListOperations(open_ones, **CALL).operations:
            if operation.order_number in strangers and not operation.order_number.startswith("MAGIC"):
                verdict = {"outcome": "RESOLVE_OUTCOME_REJECTED", "reason": "Walmart has no such order"}
                self.operator.ResolveOperation(operation_pb2.ResolveOperationRequest(name=operation.name, **verdict), **CALL)
        return self.subscription().backlog == 0

    def files(self, job):
        """The files of a job by name: what they say, and what changes when they are written again."""
        found = {}
        folder = self.folder / "out" / job
        for name in os.listdir(folder) if folder.exists() else ():
            if not name.startswith("."):
                path = folder / name
                text, stat = path.read_text(), path.stat()
                found[name.removesuffix(".json")] = (text, stat.st_ino, stat.st_mtime_ns)
        return found

    def cancellations(self):
        """The cancellations that the emulator carried out, by order."""
        counts = {}
        for call in self.control("history?operation=cancel_lines")["calls"]:
            if call["effect"] == "LINES_CANCELLED":
                counts[call["order_number"]] = counts.get(call["order_number"], 0) + 1
        return counts

    def cancelled_units(self, order):
        """The cancelled entries of the order's lines, as Walmart shows them."""
        request = seller_orders_pb2.GetOrderRequest(purchase_order_id=order)
        found = {}
        answer = self.orders.GetOrder(request, **CALL)
        for line in answer.order.order_lines.order_line:
            entries = [entry for entry in line.order_line_statuses.order_line_status if entry.status == "Cancelled"]
            if entries:
                units = [int(entry.status_quantity.amount) for entry in entries]
                found[line.line_number] = [(entry.cancellation_reason, amount) for entry, amount in zip(entries, units)]
        return found

    def seen(self, cases, changed):
        subscription = self.subscription()
        return check.Seen(
            paused={name: json.loads(text) for name, (text, *_) in self.files("paused").items()},
            notes={name: json.loads(text) for name, (text, *_) in self.files("notes").items()},
            changed=changed,
            requests=self.cancellations(),
            cancelled={case.order: self.cancelled_units(case.order) for case in cases if case.kind != "nobody's"},
            backlog=subscription.backlog,
            parked=subscription.parked,
        )


def event(case, envelope):
    """An event in Walmart's form."""
    lines = [{"lineNumber": line, "quantity": {"measurementValue": units}} for line, units in case.says.items()]
    order = {"partnerId": case.seller, "purchaseOrderId": case.order, "orderLines": lines}
    payload, source = order, {"eventType": envelope, "eventId": f"{envelope}-{case.order}"}
    if envelope == "ORDER_UPDATES":
        payload = {"meta": {"subEventType": "INTENT_TO_CANCEL"}, "order": order}
    return {"source": source, "payload": payload}


def cancellation(case):
    request = seller_order_changes_pb2.CancelOrderLinesRequest(request_id=case.key, purchase_order_id=case.order)
    for number, units in case.done_before.items():
        line = request.order_cancellation.order_lines.order_line.add(line_number=number)
        entry = line.order_line_statuses.order_line_status.add(cancellation_reason=plan.REASON)
        entry.status_quantity.amount = str(units)
    return request


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(holds, what, seconds=60):
    """Waits until it holds. The interval is that of the shortest step that a kill is aimed at."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.005)
