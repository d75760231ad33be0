"""The settings that the chart writes are settings of the gateway."""

import contextlib
import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest
import urllib.error
import urllib.request

import trustme

import chart
import gateway

ACCOUNTS = """
[[accounts]]
id = "acme"
partner_id = "10000000000"
client_id = "key"
client_secret_file = "/etc/order-gateway/secrets/acme-client-secret"

[[clients]]
name = "oms"
token_file = "/etc/order-gateway/secrets/oms-token"
accounts = ["acme"]
"""

MOUNTS = {"/etc/order-gateway": "etc", "/var/run/secrets/order-gateway": "tokens", "/var/lib/order-gateway": "store"}
FILES = ("etc/secrets/acme-client-secret", "etc/secrets/acme-webhook", "etc/secrets/acme-webhook-secret", "etc/secrets/oms-token",
         "etc/postgres/password", "tokens/postgres")
AUTHORITY = trustme.CA()
OURS = AUTHORITY.issue_cert("order-gateway")
CERTIFICATES = {"etc/tls/tls.crt": OURS.cert_chain_pems[0], "etc/tls/tls.key": OURS.private_key_pem,
                "etc/client-ca/ca.crt": AUTHORITY.cert_pem, "etc/client-ca/callers.pem": AUTHORITY.cert_pem}


def written(values):
    config = [found for found in chart.manifests(values) if found["kind"] == "ConfigMap" and "config.toml" in found.get("data", {})]
    return config[0]["data"]["config.toml"]


@contextlib.contextmanager
def mounted(values, accounts=ACCOUNTS):
    """A folder as the pod has it, with made-up secrets, and the arguments with which the gateway finds its settings there."""
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)

        def moved(text):
            for path, name in MOUNTS.items():
                text = text.replace(path, str(here / name))
            return text

        for file in FILES:
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            (here / file).write_text(f"made-up-{file}\n".replace("/", "-"))
        for file, blob in CERTIFICATES.items():
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            blob.write_to_path(str(here / file))
        (here / "etc/config").mkdir()
        (here / "store").mkdir()
        (here / "etc/config/config.toml").write_text(moved(written(values)))
        of = chart.workload(chart.manifests(values))["spec"]["template"]["spec"]["containers"][0]
        if values.get("existingSecretKey") != "":
            (here / "etc/secrets" / values.get("existingSecretKey", "accounts.toml")).write_text(moved(accounts))
        yield here, [moved(word) for word in of["args"] if word not in ("serve", *values.get("extraArgs", []))]


def check(values, accounts=ACCOUNTS):
    """What the gateway says of the settings."""
    with mounted(values, accounts) as (_, arguments):
        return chart.run(chart.tool("ORDER_GATEWAY"), "config", "check", *arguments)


class Settings(unittest.TestCase):
    def test_the_gateway_accepts_them(self):
        for name, values in chart.value_files():
            with self.subTest(name):
                self.assertIn("The settings are good.", check(values))

    def test_the_gateway_serves_with_them(self):
        ports = {door: gateway.free_port() for door in ("grpc", "http", "admin")}
        with mounted({"bindAddress": "127.0.0.1", "containerPorts": ports}) as (here, arguments):
            command = [chart.tool("ORDER_GATEWAY"), "serve", *arguments]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
                try:
                    lines = []
                    for line in serving.stderr:
                        lines.append(line)
                        if '"message":"serving"' in line:
                            break
                    else:
                        self.fail("".join(lines))
                    address = f"127.0.0.1:{ports['grpc']}"
                    # As the pod of `helm test` asks, and as a client.
                    self.assertIn("SERVING", chart.run(chart.tool("ORDER_GATEWAY"), "health", "--addr", address))
                    token = (here / "etc/secrets/oms-token").read_text().strip()
                    header = f"authorization: Bearer {token}"
                    answer = chart.run("grpcurl", "-plaintext", "-H", header, address, "ordergateway.v1.GatewayService/GetStatus")
                    self.assertIn('"acme"', answer)
                    with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/readyz", timeout=10) as ready:
                        self.assertEqual(ready.status, 200)
                    with urllib.request.urlopen(f"http://127.0.0.1:{ports['admin']}/metrics", timeout=10) as metrics:
                        self.assertIn(b"order_gateway_", metrics.read())
                    with self.assertRaisesRegex(urllib.error.HTTPError, "404"):
                        urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/metrics", timeout=10)
                    self.assertTrue((here / "store/order-gateway.db").exists())
                finally:
                    serving.terminate()
                    serving.stderr.read()
            self.assertEqual(serving.returncode, 0)

    def test_a_wrong_one_is_found(self):
        with self.assertRaisesRegex(AssertionError, "walmart.profil: unknown key"):
            check({"config": {"walmart": {"profil": "sandbox"}}})

    def test_they_say_what_the_values_say(self):
        config = {
            "walmart": {"service_name": 'a "b" <c> & d\\e', "attempt_timeout": "5s", "limits": {"promise": 20}},
            "ledger": {"lookup_delays": ["1s", "2s"]}, "telemetry": {"trace_sample_ratio": 0.5, "access_log": "off"},
            "grpc": {"reflection": False}, "clients": [{"name": "a", "accounts": ["*"], "per_second": 1000000}],
            "accounts": [{"id": "a", "webhook": {"auth": "none"}}, {"id": "b"}],
        }
        read = tomllib.loads(written({"config": config}))
        self.assertEqual(read["grpc"].pop("listen"), "0.0.0.0:50051")
        self.assertEqual(read.pop("http"), {"listen": "0.0.0.0:8080"})
        self.assertEqual(read.pop("admin"), {"listen": "0.0.0.0:8081"})
        self.assertEqual(read.pop("store"), {"url": "sqlite:///var/lib/order-gateway/order-gateway.db"})
        self.assertEqual(read, config)
        self.assertIs(type(read["walmart"]["limits"]["promise"]), int)

    def test_addresses(self):
        read = tomllib.loads(written({"bindAddress": "::", "containerPorts": {"grpc": 1, "http": 2, "admin": 3}}))
        self.assertEqual([read[door]["listen"] for door in ("grpc", "http", "admin")], ["[::]:1", "[::]:2", "[::]:3"])
        hosts = tomllib.loads(written({"config": {"admin": {"hosts": ["ops.example.com"]}}}))["admin"]
        self.assertEqual(hosts, {"hosts": ["ops.example.com"], "listen": "0.0.0.0:8081"})

    def test_every_section_of_the_gateway_may_be_set(self):
        defaults = (chart.ROOT / "config.defaults.toml").read_text()
        sections = {name.split(".")[0] for name in re.findall(r"^#?\[+([a-z_.]+)\]+$", defaults, re.MULTILINE)}
        self.assertGreater(len(sections), 9)
        self.assertEqual(set(chart.loaded().schema["properties"]["config"]["properties"]), sections)

    def test_postgres_is_refused_by_this_version(self):
        """NOTES.txt and README say so; when it is no longer true they must change."""
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "password").write_text("made-up")
            file = pathlib.Path(folder) / "settings.toml"
            accounts = ACCOUNTS.replace("_file", "")
            file.write_text(f'store.url = "postgres://gateway@127.0.0.1:1/orders"\nstore.password_file = "{folder}/password"\n'
                            f'grpc.listen = "127.0.0.1:0"\nhttp.listen = "127.0.0.1:0"\n{accounts}')
            done = subprocess.run([chart.tool("ORDER_GATEWAY"), "serve", "--config", file], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((done.returncode, done.stderr.strip()), (1, "store.url: postgres is not supported by this version"))
