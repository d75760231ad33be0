"""README, values and schema say the same."""

import pathlib
import re
import shutil
import tempfile
import unittest

import yaml

import chart
import test_settings

README = chart.CHART / "README.md"


def keys(values, path=""):
    """Paths of all values but those inside maps that are the user's own."""
    for name, value in values.items():
        yield f"{path}/{name}"
        if isinstance(value, dict) and value:
            yield from keys(value, f"{path}/{name}")


def schema_keys(schema, path=""):
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}/{name}"
        yield from schema_keys(inner, f"{path}/{name}")


class Readme(unittest.TestCase):
    def test_table_of_values_is_current(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "README.md"
            shutil.copy(README, copy)
            program = pathlib.Path(chart.tool("CHART_NODE")) / "node_modules" / ".bin" / "readme-generator"
            chart.run(program, "--values", chart.CHART / "values.yaml", "--readme", copy)
            self.assertEqual(README.read_text(), copy.read_text(), "run scripts/chart-test --readme")

    def test_schema_and_values_have_the_same_keys(self):
        values = set(keys(chart.loaded().values))
        schema = set(schema_keys(chart.loaded().schema)) - {"/global"}
        # What Kubernetes defines, or the gateway, is not in the schema, or not in the values.
        open_maps = ("/resources/", "/podSecurityContext/", "/securityContext/", "/updateStrategy/", "/probes/", "/metrics/dashboard/labels/", "/config/")
        for found in values ^ schema:
            with self.subTest(found):
                self.assertTrue(found.startswith(open_maps), "in only one of values.yaml and values.schema.json")

    def test_our_own_keys_are_closed(self):
        def closed(schema, path):
            if "properties" in schema:
                self.assertIs(schema.get("additionalProperties"), False, path)
                for name, inner in schema["properties"].items():
                    closed(inner, f"{path}/{name}")
        closed(chart.loaded().schema, "")

    def test_examples_work(self):
        text = README.read_text()
        examples = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
        self.assertGreaterEqual(len(examples), 2)
        for values in examples:
            chart.manifests(values)
        (accounts,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        self.assertIn("The settings are good.", test_settings.check({}, accounts))

    def test_the_version_is_that_of_the_gateway(self):
        cargo = (chart.ROOT / "Cargo.toml").read_text()
        version = re.search(r'^version = "(.*)"$', cargo, re.MULTILINE)[1]
        self.assertEqual(chart.loaded().metadata["appVersion"], version)
