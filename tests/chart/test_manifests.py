"""Every manifest of every file of values: Kubernetes' schemas, custom kinds, hardening."""

import functools
import json
import subprocess
import tempfile
import unittest

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions

import chart

OLDEST = 30  # as Chart.yaml says
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
CHECKOV = [f"CKV_K8S_{number}" for number in (20, 22, 23, 28, 30, 31, 35, 37, 38, 40)]


@functools.cache
def everything():
    return [(name, chart.manifests(values)) for name, values in chart.value_files()]


def is_custom(manifest):
    group = manifest["apiVersion"].partition("/")[0]
    return "." in group and not group.endswith(".k8s.io") or group == "gateway.networking.k8s.io"


class Manifests(unittest.TestCase):
    def test_kubernetes_schemas(self):
        versions = [version for version in all_versions() if int(version.split(".")[1]) >= OLDEST]
        self.assertGreaterEqual(len(versions), 8)
        of_all = [(name, manifest) for name, manifests in everything() for manifest in manifests if not is_custom(manifest)]
        # Many are the same in several files.
        different = {json.dumps(manifest, sort_keys=True): (name, manifest) for name, manifest in of_all}
        for name, manifest in different.values():
            for version in versions:
                with self.subTest(name, kind=manifest["kind"], version=version):
                    kubernetes_validate.validate(manifest, version, strict=True)
        print(f"chart: {len(of_all)} manifests, {len(different)} of them different, Kubernetes {versions[0]} to {versions[-1]}")

    def test_a_wrong_manifest_is_found(self):
        manifest = chart.workload(chart.manifests({}))
        manifest["spec"]["template"]["spec"]["containers"][0]["prots"] = []
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(manifest, "1.37", strict=True)

    def custom_faults(self, manifests):
        command = ["node", "--input-type=module", "--eval", (chart.HERE / "custom-kinds.mjs").read_text()]
        options = {"cwd": chart.tool("CHART_NODE"), "capture_output": True, "text": True, "check": False}
        done = subprocess.run(command, input=json.dumps(manifests), **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_custom_kinds(self):
        named = [(name, manifest) for name, manifests in everything() for manifest in manifests if is_custom(manifest)]
        kinds = {manifest["kind"] for _, manifest in named}
        self.assertEqual(kinds, {"Certificate", "GRPCRoute", "HTTPRoute", "PrometheusRule", "ServiceMonitor"})
        faults = self.custom_faults([manifest for _, manifest in named])
        for (name, manifest), fault in zip(named, faults, strict=True):
            with self.subTest(name, kind=manifest["kind"]):
                self.assertEqual(fault, "")
        print(f"chart: {len(named)} manifests of {len(kinds)} custom kinds")

    def test_a_wrong_custom_kind_is_found(self):
        manifest = chart.one(chart.manifests({"metrics": {"serviceMonitor": {"enabled": True}}}), "ServiceMonitor")
        manifest["spec"]["endpoints"][0]["port"] = 8080
        (fault,) = self.custom_faults([manifest])
        self.assertIn("port must be string", fault)

    def test_pods_are_restricted(self):
        for name, manifests in everything():
            for spec in chart.pods(manifests):
                with self.subTest(name):
                    self.assert_restricted(spec)

    def assert_restricted(self, spec):
        """The profile "restricted" of the Pod Security Standards, and what we promise beyond it."""
        for forbidden in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"):
            self.assertNotIn(forbidden, spec)
        pod = spec["securityContext"]
        self.assertIs(pod["runAsNonRoot"], True)
        self.assertEqual((pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]), (65532, 65532, 65532))
        self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
        for container in spec["containers"]:
            context = container["securityContext"]
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertIs(context["readOnlyRootFilesystem"], True)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            self.assertNotIn("privileged", context)
            for port in container.get("ports", []):
                self.assertNotIn("hostPort", port)
            for mount in container.get("volumeMounts", []):
                self.assertNotIn("subPath", mount, "a file that is mounted alone is never renewed")
        for volume in spec.get("volumes", []):
            self.assertLessEqual(set(volume) - {"name"}, RESTRICTED_VOLUMES)
        self.assertIs(spec["automountServiceAccountToken"], False)
        self.assertIs(spec["enableServiceLinks"], False)

    def test_checkov(self):
        program = chart.tool("CHART_CHECKOV")
        with tempfile.TemporaryDirectory() as folder:
            for name, manifests in everything():
                with open(f"{folder}/{name}.yaml", "w", encoding="utf-8") as file:
                    yaml.safe_dump_all([found for found in manifests if not is_custom(found)], file)
            command = [program, "-d", folder, "--framework", "kubernetes", "--quiet", "--skip-download", "-o", "json"]
            command += ["--check", ",".join(CHECKOV)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        report = json.loads(done.stdout)
        failed = [(found["check_id"], found["resource"], found["file_path"]) for found in report["results"]["failed_checks"]]
        self.assertEqual(failed, [])
        self.assertGreater(report["summary"]["passed"], 100)
        print(f"chart: checkov: {report['summary']['passed']} passed, {report['summary']['failed']} failed")
