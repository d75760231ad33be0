"""The Grafana dashboard: every query parses and asks for series that there are."""

import json
import re
import unittest

import promql_parser

import chart
import metrics

BOARD = json.loads(chart.DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"] for variable in BOARD["templating"]["list"]}


def queries():
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], re.sub(r"\$__rate_interval", "5m", target["expr"])


class Dashboard(unittest.TestCase):
    def test_queries_parse_and_ask_for_what_there_is(self):
        count = 0
        for title, query in queries():
            with self.subTest(title, query=query):
                promql_parser.parse(query)
                names = metrics.named(query)
                self.assertTrue(names)
                for name in names - {"up"}:
                    self.assertIn(name, metrics.known())
                count += 1
        self.assertGreater(count, 40)
        print(f"chart: {len(PANELS)} panels, {count} queries")

    def test_a_wrong_query_is_found(self):
        with self.assertRaises(ValueError):
            promql_parser.parse("sum by (a (up))")
        self.assertEqual(metrics.named('rate(a_total{x="y"}[5m]) / on (z) (sum(b) or -c)'), {"a_total", "b", "c"})

    def test_selectors_and_variables(self):
        self.assertLessEqual({"datasource", "namespace", "job", "pod"}, VARIABLES)
        for title, query in queries():
            for selector in re.findall(r"{([^{}]*)}", query):
                with self.subTest(title, query=query):
                    self.assertTrue(selector.startswith('job=~"$job",namespace=~"$namespace",pod=~"$pod"'), selector)
            self.assertLessEqual(set(re.findall(r"\$(\w+)", query)), VARIABLES)

    def test_panels_have_a_place_of_their_own(self):
        taken = set()
        for panel in BOARD["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertLessEqual(at["x"] + at["w"], 24)
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        self.assertEqual(len({panel["id"] for panel in BOARD["panels"]}), len(BOARD["panels"]))

    def test_the_chart_carries_it_unchanged(self):
        found = chart.one(chart.manifests({"metrics": {"dashboard": {"enabled": True}}}), "ConfigMap", "-dashboard")
        self.assertEqual(json.loads(found["data"]["order-gateway.json"]), BOARD)
        self.assertEqual(found["metadata"]["labels"]["grafana_dashboard"], "1")
