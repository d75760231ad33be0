"""The alerts: each fires, does not fire just below, and has its section in the runbook."""

import pathlib
import re
import subprocess
import tempfile
import unittest

import promql_parser
import yaml

import chart
import gateway
import metrics

CASES = yaml.safe_load((chart.HERE / "alerts.yaml").read_text())
RULES = [rule for group in yaml.safe_load(chart.ALERTS.read_text())["groups"] for rule in group["rules"]]
JOB = 'job="order-gateway"'


def filled(text, labels):
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels.get(found[1], ""), text)


def unit_test(rule, case, labels, fires):
    """One test as promtool reads it."""
    expected = {"exp_labels": {"severity": rule["labels"]["severity"]} | labels,
                "exp_annotations": {name: filled(text, labels) for name, text in rule["annotations"].items()}}
    return {
        "name": f"{rule['alert']} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": series.replace("{", f"{{{JOB},"), "values": values} for series, values in case["series"].items()],
        "alert_rule_test": [{"alertname": rule["alert"], "eval_time": case["at"], "exp_alerts": [expected] if fires else []}],
    }


class Alerts(unittest.TestCase):
    def test_promtool_finds_nothing(self):
        found = chart.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", chart.ALERTS)
        self.assertIn(f"{len(RULES)} rules found", found)

    def test_each_fires_and_is_quiet(self):
        self.assertEqual(list(CASES), [rule["alert"] for rule in RULES])
        tests = []
        for rule in RULES:
            cases = CASES[rule["alert"]]
            labels = cases.get("labels", {})
            for fires in (True, False):
                self.assertTrue(cases["fires" if fires else "quiet"])
                for case in cases["fires" if fires else "quiet"]:
                    at = {"at": cases.get("at", "20m")}
                    tests.append(unit_test(rule, at | case, labels, fires))
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "tests.yaml"
            file.write_text(yaml.safe_dump({"rule_files": [str(chart.ALERTS)], "tests": tests}, sort_keys=False))
            chart.run("promtool", "test", "rules", file)
        print(f"chart: {len(RULES)} alerts, {len(tests)} promtool tests")

    def test_what_the_chart_renders_is_read_by_prometheus(self):
        values = {"metrics": {"prometheusRule": {"enabled": True}}}
        rule = chart.one(chart.manifests(values, name="acme"), "PrometheusRule")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "rules.yaml"
            file.write_text(yaml.safe_dump(rule["spec"]))
            chart.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", file)

    def test_each_has_its_section_in_the_runbook(self):
        headings = re.findall(r"^## (OrderGateway\w+)$", chart.RUNBOOK.read_text(), re.MULTILINE)
        self.assertEqual(sorted(headings), sorted(rule["alert"] for rule in RULES))
        for rule in RULES:
            self.assertEqual(rule["annotations"]["runbook_url"], f"docs/RUNBOOK.md#{rule['alert'].lower()}")

    def test_each_section_says_what_to_do(self):
        for section in re.split(r"^## ", chart.RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
            if section.startswith("OrderGateway"):
                with self.subTest(section.split("\n", 1)[0]):
                    for part in ("**Meaning.**", "**Look here.**", "**Do this.**"):
                        self.assertEqual(section.count(part), 1)

    def test_the_calls_of_the_runbook_are_understood(self):
        """Each line is called as it stands. What it asks for need not be there; that it cannot be asked is a fault."""
        lines = re.findall(r"^call .*\$(?:SERVICE|FEED|UPDATES|ORDERS|WEBHOOKS)/.*$", chart.RUNBOOK.read_text(), re.MULTILINE)
        self.assertGreater(len(lines), 15)
        setup = """
            set -uo pipefail
            SERVICE=ordergateway.v1.GatewayService FEED=ordergateway.v1.CancelIntentService UPDATES=ordergateway.v1.OrderUpdateService ORDERS=ordergateway.v1.FulfillmentService WEBHOOKS=ordergateway.v1.WebhookSubscriptionService
            call() { grpcurl -plaintext -H "authorization: Bearer none" "$@"; }
        """
        with gateway.after_its_tour() as (grpc, _):
            for line in dict.fromkeys(lines):
                with self.subTest(line):
                    # The example is of the emulator's only account.
                    line = line.replace('"acme"', '"demo"').replace("cancel.json", str(chart.ROOT / "examples" / "cancel.json"))
                    done = subprocess.run(["bash", "-c", f"{setup}\nGATEWAY={grpc}\n{line}"], capture_output=True, text=True, check=False)
                    # 64 + status; others are those of grpcurl itself, 67 is INVALID_ARGUMENT, 76 UNIMPLEMENTED.
                    self.assertTrue(done.returncode == 0 or done.returncode > 64, done.stderr)
                    self.assertNotIn(done.returncode, (67, 76), done.stderr)
        print(f"chart: {len(lines)} calls of the runbook")

    def test_each_metric_exists(self):
        for rule in RULES:
            promql_parser.parse(rule["expr"])
            for name in metrics.named(rule["expr"]) - {"up"}:
                with self.subTest(rule["alert"]):
                    self.assertIn(name, metrics.known())
