"""Creates orders with the generated Python client: order.py ADDRESS, with the generated code on PYTHONPATH."""

import json
import pathlib
import sys
import time

from google.protobuf import json_format

# snippet: begin
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ordergateway.v1 import fulfillment_pb2_grpc, order_pb2


def connect(address, service_config):
    channel = grpc.insecure_channel(address, options=[("grpc.service_config", service_config)])
    return fulfillment_pb2_grpc.FulfillmentServiceStub(channel)


def create(orders, request, seconds):
    for _ in range(5):
        try:
            return orders.CreateOrder(request, timeout=seconds)  # the deadline
        except grpc.RpcError as error:
            info, retry = details(error)
            print("python:", error.code().name, info.reason, info.metadata.get("correlationId", ""), flush=True)
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            time.sleep(retry.retry_delay.ToTimedelta().total_seconds() or 1)  # then the same request: never a second order
    raise TimeoutError("still unknown; repeat the same request later")


def details(error):
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)  # None when the gateway was not reached
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    return info, retry
# snippet: end


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    orders = connect(sys.argv[1], (root / "clients/service-config.json").read_text())
    sample = json.loads((root / "examples/create.json").read_text())

    def order(number, city="San Francisco"):
        request = json_format.ParseDict(sample, order_pb2.CreateOrderRequest())
        request.payload.seller_order_id = request.payload.customer_order_no = number
        request.payload.order_items[0].shipping_to.address.city = city
        return request

    for _ in range(2):
        answer = create(orders, order("PYTHON-1"), 10)
        print("python:", answer.status, "replayed" if answer.replayed else "created")
    answer = create(orders, order("MAGIC-DROP-AFTER-PYTHON"), 0.6)  # less time than finding the outcome takes
    print("python:", answer.status, "replayed" if answer.replayed else "created")
    try:
        create(orders, order("PYTHON-1", "Oakland"), 10)
    except grpc.RpcError:
        print("python: refused")


main()
