"""The retry policy of service-config.json, as grpcio carries it out against a server that only refuses."""

import collections
import concurrent.futures
import importlib
import json
import pathlib
import unittest

import grpc
from ordergateway.v1 import fulfillment_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "clients" / "service-config.json").read_text()


def services():
    """Every service of the generated code."""
    for file in sorted(pathlib.Path(fulfillment_pb2.__file__).parent.glob("*_pb2.py")):
        module = importlib.import_module(f"ordergateway.v1.{file.stem}")
        yield from module.DESCRIPTOR.services_by_name.values()


class Refuses(grpc.GenericRpcHandler):
    """Counts attempts, and ends each with the code."""

    def __init__(self, code, pushback):
        self.code, self.pushback, self.attempts = code, pushback, collections.Counter()

    def service(self, details):
        def refuse(_, context):
            self.attempts[details.method] += 1
            if self.pushback is not None:
                context.set_trailing_metadata([("grpc-retry-pushback-ms", str(self.pushback))])
            context.abort(self.code, "refused")

        return grpc.unary_unary_rpc_method_handler(refuse)


def attempts(method, code, pushback=None):
    """How often the client sends a call that always ends with the code; and its code."""
    handler = Refuses(code, pushback)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.service_config", CONFIG)]) as channel:
            try:
                channel.unary_unary(method)(b"", timeout=20)
            except grpc.RpcError as error:
                return handler.attempts[method], error.code()
    finally:
        server.stop(None)
    raise AssertionError("the call succeeded")


class RetryPolicy(unittest.TestCase):
    create = "/ordergateway.v1.FulfillmentService/CreateOrder"

    def test_what_is_safe_is_sent_again(self):
        for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
            self.assertEqual(attempts(self.create, code, pushback=10), (4, code))

    def test_nothing_else_is(self):
        for code in set(grpc.StatusCode) - {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
            self.assertEqual(attempts(self.create, code), (1, code))

    def test_the_gateway_can_forbid_a_retry(self):
        self.assertEqual(attempts(self.create, grpc.StatusCode.UNAVAILABLE, pushback=-1), (1, grpc.StatusCode.UNAVAILABLE))

    def test_streams_are_left_to_the_client(self):
        """It has to go on after its last cursor, and has no deadline."""
        streams = {(service.full_name, method.name) for service in services() for method in service.methods if method.server_streaming}
        default, excepted, _ = json.loads(CONFIG)["methodConfig"]
        self.assertEqual(default["name"], [{}])
        self.assertEqual({(name["service"], name["method"]) for name in excepted["name"]}, streams)
        self.assertEqual(excepted.keys(), {"name"})
        watch = "/ordergateway.v1.CancelIntentService/WatchCancelIntents"
        self.assertEqual(attempts(watch, grpc.StatusCode.UNAVAILABLE), (1, grpc.StatusCode.UNAVAILABLE))

    def test_a_sample_event_is_asked_for_once(self):
        """The one call with an effect that may not be repeated safely."""
        *_, once = json.loads(CONFIG)["methodConfig"]
        self.assertEqual(once.keys(), {"name", "timeout"})
        sample = "/ordergateway.v1.WebhookSubscriptionService/TestWebhookSubscription"
        self.assertEqual(attempts(sample, grpc.StatusCode.UNAVAILABLE), (1, grpc.StatusCode.UNAVAILABLE))


if __name__ == "__main__":
    unittest.main()
