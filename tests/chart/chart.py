"""The chart under test: rendering with values, and the tools around it.

Tests find their tools by environment variables that scripts/chart-test sets: ORDER_GATEWAY (the program), CHART_NODE (a
folder with node_modules) and CHART_CHECKOV (that program).
"""

import functools
import json
import os
import pathlib
import subprocess

import yaml
from helm_python import Chart, _native

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CHART = ROOT / "helm"
ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
RUNBOOK = ROOT / "docs" / "RUNBOOK.md"

OPERATOR = ("monitoring.coreos.com/v1",)


def tool(variable):
    """Path of a tool; a test without its tool fails, it is not left out."""
    value = os.environ.get(variable)
    if not value:
        raise AssertionError(f"{variable} is not set; scripts/chart-test sets it")
    return value


def value_files():
    """Name and content of every file of values."""
    files = sorted((HERE / "values").glob("*.yaml"))
    return [(file.stem, yaml.safe_load(file.read_text()) or {}) for file in files]


@functools.cache
def loaded():
    return Chart.load(str(CHART))


def render(values, *, name="order-gateway", namespace="orders", api_versions=OPERATOR):
    """Text of every template that rendered to something, by file name."""
    options = {"name": name, "namespace": namespace, "api_versions": list(api_versions)}
    text = _native.call_string("helm_render", loaded()._raw(), json.dumps(values), json.dumps(options))
    files = {path.split("/templates/")[1]: text for path, text in json.loads(text).items()}
    return {path: text for path, text in files.items() if text.strip()}


def manifests(values, **options):
    """Every object, in no order. NOTES.txt is none."""
    texts = [text for path, text in render(values, **options).items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def one(objects, kind, suffix=""):
    """The only object of a kind (whose name ends so)."""
    found = [found for found in objects if found["kind"] == kind and found["metadata"]["name"].endswith(suffix)]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} {kind} {suffix}")
    return found[0]


def workload(objects):
    """The StatefulSet or Deployment, of which there is always one."""
    found = [found for found in objects if found["kind"] in ("StatefulSet", "Deployment")]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} workloads")
    return found[0]


def pods(objects):
    """The specification of every pod: that of the workload, and that of `helm test`."""
    specs = [workload(objects)["spec"]["template"]["spec"]]
    return specs + [found["spec"] for found in objects if found["kind"] == "Pod"]


def run(*command, **options):
    """Runs a program; what it printed, stderr too. One that fails fails the test."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 300} | options
    done = subprocess.run([str(word) for word in command], check=False, **options)
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
