"""Values that cannot work are refused, in words that help."""

import unittest

import yaml
from helm_python.errors import HelmError

import chart

CASES = yaml.safe_load((chart.HERE / "refused.yaml").read_text())


class Refused(unittest.TestCase):
    def test_each(self):
        for case in CASES:
            with self.subTest(case["name"]):
                with self.assertRaises(HelmError) as refused:
                    chart.render(case["values"], api_versions=case.get("api_versions", chart.OPERATOR))
                message = str(refused.exception)
                for said in case["says"]:
                    self.assertIn(said, message)
                if "hides" in case:
                    self.assertNotIn(case["hides"], message)
        print(f"chart: {len(CASES)} wrong values refused")

    def test_every_fault_of_the_chart_has_a_case(self):
        text = (chart.CHART / "templates" / "_validate.tpl").read_text()
        faults = text.count("$faults = append $faults")
        own = [case for case in CASES if not any(said.startswith("/") for said in case["says"])]
        self.assertGreater(faults, 20)
        self.assertGreaterEqual(sum(len(case["says"]) for case in own), faults)
