"""Which metrics there are: those of a running gateway, started for this."""

import functools
import re
import urllib.request

import promql_parser

import chart
import gateway

# Not shown by a gateway without TLS, or in its first ten seconds.
AWAITED = {
    "order_gateway_feed_subscription_lag_events",
    "order_gateway_feed_subscription_oldest_pending_age_seconds",
    "order_gateway_feed_subscription_parked_events",
    "order_gateway_tls_certificate_expiry_timestamp_seconds",
}


@functools.cache
def live():
    """The text of /metrics, with a subscription there."""
    with gateway.after_its_tour() as (grpc, http):
        feed = "ordergateway.v1.CancelIntentService"
        chart.run("grpcurl", "-plaintext", "-d", '{"subscription":{"name":"oms"}}', grpc, f"{feed}/CreateSubscription")
        with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
            return answer.read().decode()


@functools.cache
def known():
    """Names of all series."""
    names = set(AWAITED)
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", live(), re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def named(expression):
    """Names of the metrics in a query."""
    names = set()

    def look(node):
        if isinstance(node, promql_parser.VectorSelector):
            names.add(node.name)
        for part in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
            inner = getattr(node, part, None)
            for child in inner if isinstance(inner, list) else [inner]:
                if child is not None and not isinstance(child, str | float):
                    look(child)

    look(promql_parser.parse(expression))
    return names
