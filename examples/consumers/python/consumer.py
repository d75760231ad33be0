"""A consumer of customers' intents to cancel: three jobs for each, each once, whatever is killed and when.

1. pause fulfillment of the order    paused/<purchase order>.json
2. cancel the lines at Walmart       SellerOrderService.CancelOrderLines, with `intent_key` as `request_id`
3. write a note for support          notes/<intent key>.json

The files stand for calls to a warehouse and a help desk. The settings are environment variables: see ../README.md.
"""

import contextlib
import itertools
import json
import os
import pathlib
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ordergateway.v1 import cancel_intents_pb2_grpc, cancel_pb2, seller_order_pb2, seller_orders_pb2_grpc
from ordergateway.v1 import subscription_pb2 as feed
from ordergateway.v1.seller_order_changes_pb2 import CancelOrderLinesRequest

ADDRESS = os.environ.get("GATEWAY_ADDRESS", "127.0.0.1:50051")
ACCOUNT = os.environ.get("GATEWAY_ACCOUNT")
SUBSCRIPTION = os.environ.get("GATEWAY_SUBSCRIPTION", "cancel-desk")
CONSUMER = os.environ.get("CONSUMER_ID", "consumer-1")
FOLDER = pathlib.Path(os.environ.get("OUTPUT_FOLDER", "cancel-desk"))
METADATA = [("authorization", f"Bearer {os.environ['GATEWAY_TOKEN']}")] if os.environ.get("GATEWAY_TOKEN") else []
WORKERS = 8

# Reasons that a repeated cancellation would get again: they go into the note.
FINAL = "IDEMPOTENCY_KEY_REUSED INVALID_REQUEST OPERATION_EXPIRED UPSTREAM_NOT_FOUND UPSTREAM_REJECTED".split()
# Codes that waiting does not change: a wrong token or account, or a subscription that a person has to look at.
HOPELESS = "ALREADY_EXISTS FAILED_PRECONDITION INVALID_ARGUMENT NOT_FOUND OUT_OF_RANGE PERMISSION_DENIED UNAUTHENTICATED"


def details(error):
    """Returns the reason of an error, and the time to wait before a repeat, None when the gateway names no time."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)  # None when the gateway was not reached
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    return info.reason, retry.retry_delay if retry.HasField("retry_delay") else None


def back_off(error, attempt):
    """Waits as long as the gateway says, else longer with each attempt. Ends the program when waiting is useless."""
    reason, delay = details(error)
    print(f"consumer: {error.code().name} {reason}: {error.details()}", file=sys.stderr, flush=True)
    if error.code().name in HOPELESS.split() or reason == "CONSUMER_REPLACED":
        os._exit(1)  # from any thread: what is not settled is delivered again, as after a crash
    time.sleep(delay.ToTimedelta().total_seconds() if delay else random.uniform(0.1, 0.5 * 2 ** min(attempt, 4)))


def once(folder, name, make):
    """Writes what `make` returns into a file, durably and whole, unless the file is there."""
    path = FOLDER / folder / f"{quote(name, safe='')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        content, draft = make(), path.with_name(f".{path.name}.{quote(CONSUMER, safe='')}")
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # A rename would replace the file of a faster consumer.
        draft.unlink()
    names = os.open(path.parent, os.O_RDONLY)
    os.fsync(names)
    os.close(names)


def cancel(event):
    """Cancels the lines, and returns what support has to know. Raises an error when the call has to be repeated."""
    order = event.intent.purchase_order_id
    # A quantity is unset when Walmart's text is no number.
    readable = [line for line in event.intent.order_lines if line.quantity.HasField("measurement_value")]
    lines = {line.line_number: f"{line.quantity.measurement_value:.15g}" for line in readable}
    note = {"purchase_order_id": order, "intent_key": event.intent_key, "lines": lines}
    if not lines:
        return {**note, "outcome": "NO_LINES"}
    request = CancelOrderLinesRequest(account=event.account, request_id=event.intent_key, purchase_order_id=order)
    for number, units in lines.items():
        status = seller_order_pb2.LineStatus(cancellation_reason="CUSTOMER_REQUESTED_SELLER_TO_CANCEL")
        status.status_quantity.amount = units
        line = request.order_cancellation.order_lines.order_line.add(line_number=number)
        line.order_line_statuses.order_line_status.append(status)
    try:
        answer = orders.CancelOrderLines(request, timeout=30, metadata=METADATA)
    except grpc.RpcError as error:
        reason, _ = details(error)
        if reason not in FINAL:
            raise
        return {**note, "outcome": reason, "code": error.code().name, "message": error.details()}
    if any(batch.status == cancel_pb2.BATCH_STATUS_UNKNOWN for batch in answer.batches):
        raise TimeoutError("the outcome of some lines is not known yet")
    return {**note, "outcome": answer.status, "refused": [n for b in answer.batches if b.error.code for n in b.line_ids]}


def work(delivery):
    """Does the three jobs, then settles. The note comes last: an intent with a note is done."""
    event, verdict = delivery.event, feed.Verdict(lease=delivery.lease)
    try:
        if event.partner_mismatch or not event.intent_key:
            verdict.park.reason = "the event names another seller, or no order"
        else:
            once("paused", event.intent.purchase_order_id, lambda: {"intent_key": event.intent_key})
            once("notes", event.intent_key, lambda: cancel(event))
            verdict.ack.SetInParent()
    except Exception as error:  # Without a delay the subscription's back-off decides when the event comes again.
        reason, delay = details(error) if isinstance(error, grpc.RpcError) else (type(error).__name__, None)
        verdict.retry.CopyFrom(feed.Retry(reason=reason, delay=delay))
    request = feed.SettleCancelIntentsRequest(subscription=SUBSCRIPTION, verdicts=[verdict])
    for attempt in itertools.count():
        try:
            return intents.SettleCancelIntents(request, timeout=10, metadata=METADATA)
        except grpc.RpcError as error:
            back_off(error, attempt)


pings = [("grpc.keepalive_time_ms", 20_000), ("grpc.http2.max_pings_without_data", 0)]
channel = grpc.insecure_channel(ADDRESS, [*pings, ("grpc.max_reconnect_backoff_ms", 5_000)])
intents = cancel_intents_pb2_grpc.CancelIntentServiceStub(channel)
orders = seller_orders_pb2_grpc.SellerOrderServiceStub(channel)
subscribe = feed.SubscribeCancelIntentsRequest(
    subscription=SUBSCRIPTION, consumer_id=CONSUMER, max_outstanding_events=WORKERS,
    auto_extend=True,  # A lease lasts as long as the work.
    reclaim=True,  # Events that a crash left unsettled, or whose frame was lost, come again.
    create_if_missing=feed.Subscription(max_attempts=1000),  # Parked, for people, after more than a day.
)
if ACCOUNT:
    subscribe.create_if_missing.filter.accounts.append(ACCOUNT)
failures = 0
while True:
    try:
        with ThreadPoolExecutor(WORKERS) as pool:  # Its end waits for the work, which `reclaim` would double.
            for frame in intents.SubscribeCancelIntents(subscribe, metadata=METADATA):
                failures = 0
                if frame.HasField("delivery"):
                    pool.submit(work, frame.delivery)
    except grpc.RpcError as error:
        back_off(error, failures)
        failures += 1
