"""Creates orders with the generated Python client: order.py ADDRESS, with the generated code on PYTHONPATH."""

import json
import pathlib
import sys
import time

import grpc
from google.protobuf import json_format
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status
from ordergateway.v1 import fulfillment_pb2_grpc, order_pb2


def main():
    address, root = sys.argv[1], pathlib.Path(__file__).resolve().parents[2]
    config = (root / "clients/service-config.json").read_text()
    # snippet: begin
    channel = grpc.insecure_channel(address, options=[("grpc.service_config", config)])
    orders = fulfillment_pb2_grpc.FulfillmentServiceStub(channel)
    # snippet: end
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


# snippet: begin
def create(orders, request, seconds):
    while True:
        try:
            return orders.CreateOrder(request, timeout=seconds)  # the deadline
        except grpc.RpcError as error:
            status, info, retry = rpc_status.from_call(error), ErrorInfo(), RetryInfo()
            for detail in status.details if status else ():  # None when the gateway was not reached
                detail.Unpack(info) or detail.Unpack(retry)
            print("python:", error.code().name, info.reason, info.metadata.get("correlationId", ""), flush=True)
            if error.code().name not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise
            time.sleep(retry.retry_delay.ToTimedelta().total_seconds() or 1)  # then the same request: never a second order
# snippet: end


main()
