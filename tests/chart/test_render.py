"""What the chart renders: the promises that no schema can check."""

import unittest

import yaml
from helm_python import lint
from yamllint import linter
from yamllint.config import YamlLintConfig

import chart

POSTGRES = {"store": {"postgres": {"url": "postgres://gateway@db:5432/orders", "existingSecret": "db"}}}
TLS = {"tls": {"enabled": True, "existingSecret": "tls"}}


def container(objects):
    return chart.workload(objects)["spec"]["template"]["spec"]["containers"][0]


def volume(objects, name):
    volumes = chart.workload(objects)["spec"]["template"]["spec"]["volumes"]
    return next((found for found in volumes if found["name"] == name), None)


def kinds(objects):
    return {found["kind"] for found in objects}


class Lint(unittest.TestCase):
    def test_helm_finds_nothing(self):
        for name, values in chart.value_files():
            with self.subTest(name):
                report = lint(chart.CHART, values, strict=True, kube_version="v1.31.0")
                # 1 is information, such as that there is no icon.
                self.assertEqual([said for said in report["messages"] if said["severity"] > 1], [])
                self.assertEqual(report["errors"], [])

    def test_yaml_has_no_key_twice(self):
        rules = YamlLintConfig(file=chart.HERE / "yamllint.yaml")
        for name, values in chart.value_files():
            for path, text in chart.render(values).items():
                with self.subTest(name, path=path):
                    if path.endswith(".yaml"):
                        self.assertEqual([str(problem) for problem in linter.run(text, rules)], [])

    def test_common_labels_and_no_namespace(self):
        for name, values in chart.value_files():
            for found in chart.manifests(values):
                if found["metadata"]["name"].endswith(("-extra", "-text")):
                    continue
                with self.subTest(name, kind=found["kind"]):
                    self.assertNotIn("namespace", found["metadata"])
                    labels = found["metadata"]["labels"]
                    for label in ("name", "instance", "component", "version", "managed-by"):
                        self.assertIn(f"app.kubernetes.io/{label}", labels)
                    for label, value in values.get("commonLabels", {}).items():
                        self.assertEqual(labels[label], value)
                    annotations = found["metadata"].get("annotations", {})
                    self.assertLessEqual(values.get("commonAnnotations", {}).items(), annotations.items())


class Names(unittest.TestCase):
    def test_of_the_release(self):
        for release, expected in [("order-gateway", "order-gateway"), ("acme", "acme-order-gateway"), ("my-order-gateway", "my-order-gateway")]:
            self.assertEqual(chart.workload(chart.manifests({}, name=release))["metadata"]["name"], expected)

    def test_long_ones_stay_legal(self):
        objects = chart.manifests({"service": {"headless": {"enabled": True}}, "metrics": {"dashboard": {"enabled": True}}}, name="r" * 53)
        for found in objects:
            self.assertLessEqual(len(found["metadata"]["name"]), 63)
        self.assertEqual(len({(found["kind"], found["metadata"]["name"]) for found in objects}), len(objects))

    def test_selectors_find_the_gateway_and_not_the_test(self):
        for name, values in chart.value_files():
            objects = chart.manifests(values)
            pod = chart.workload(objects)["spec"]["template"]["metadata"]["labels"]
            tests = [found["metadata"]["labels"] for found in objects if found["kind"] == "Pod"]
            selectors = [found["spec"]["selector"] for found in objects if found["kind"] == "Service"]
            selectors += [found["spec"]["selector"]["matchLabels"] for found in objects if found["kind"] in ("StatefulSet", "Deployment", "PodDisruptionBudget")]
            selectors += [found["spec"]["podSelector"]["matchLabels"] for found in objects if found["kind"] == "NetworkPolicy"]
            for selector in selectors:
                with self.subTest(name):
                    self.assertLessEqual(selector.items(), pod.items())
                    self.assertNotIn("app.kubernetes.io/version", selector)
                    for labels in tests:
                        self.assertFalse(selector.items() <= labels.items())


class Secrets(unittest.TestCase):
    def test_named_after_the_release_unless_said(self):
        for values, release, expected in [({}, "order-gateway", "order-gateway"), ({}, "acme", "acme-order-gateway"),
                                          ({"existingSecret": None}, "acme", "acme-order-gateway"),
                                          ({"fullnameOverride": "gw"}, "acme", "gw"), ({"existingSecret": "mine"}, "acme", "mine")]:
            objects = chart.manifests(values, name=release)
            self.assertEqual(volume(objects, "secrets")["secret"]["secretName"], expected)
            self.assertNotIn("Secret", kinds(objects))

    def test_mounted_as_folders_that_only_the_gateway_reads(self):
        for name, values in chart.value_files():
            for found in chart.workload(chart.manifests(values))["spec"]["template"]["spec"]["volumes"]:
                with self.subTest(name, volume=found["name"]):
                    if "secret" in found:
                        self.assertEqual(found["secret"]["defaultMode"], 0o440)
                        self.assertNotIn("items", found["secret"])

    def test_no_secret_in_the_environment(self):
        for variable in container(chart.manifests({}))["env"]:
            self.assertNotIn("secretKeyRef", variable.get("valueFrom", {}))

    def test_a_new_setting_makes_new_pods_and_a_new_secret_does_not(self):
        def checksum(values):
            annotations = chart.workload(chart.manifests(values))["spec"]["template"]["metadata"]["annotations"]
            return annotations["checksum/config"]
        self.assertRegex(checksum({}), "^[0-9a-f]{64}$")
        self.assertEqual(checksum({}), checksum({"resources": {}}))
        self.assertNotEqual(checksum({}), checksum({"config": {"walmart": {"profile": "sandbox"}}}))


class Store(unittest.TestCase):
    def test_sqlite_is_one_pod_on_a_volume_that_stays(self):
        objects = chart.manifests({})
        self.assertEqual(chart.workload(objects)["kind"], "StatefulSet")
        self.assertEqual(chart.workload(objects)["spec"]["replicas"], 1)
        claim = chart.one(objects, "PersistentVolumeClaim")
        self.assertEqual(volume(objects, "store")["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"])
        self.assertEqual(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        self.assertNotIn("storageClassName", claim["spec"])
        self.assertEqual(kinds(objects) & {"HorizontalPodAutoscaler", "PodDisruptionBudget", "Deployment"}, set())
        empty_class = chart.one(chart.manifests({"persistence": {"storageClass": ""}}), "PersistentVolumeClaim")
        self.assertEqual(empty_class["spec"]["storageClassName"], "")

    def test_postgres_is_many_pods_without_a_volume(self):
        objects = chart.manifests(POSTGRES | {"replicaCount": 3})
        workload = chart.workload(objects)
        self.assertEqual((workload["kind"], workload["spec"]["replicas"]), ("Deployment", 3))
        self.assertEqual(workload["spec"]["strategy"], {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
        self.assertNotIn("PersistentVolumeClaim", kinds(objects))
        self.assertIsNone(volume(objects, "store"))
        self.assertEqual(volume(objects, "postgres")["secret"]["secretName"], "db")
        spread = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
        self.assertEqual([by["topologyKey"] for by in spread], ["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
        self.assertEqual(chart.one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1)

    def test_the_autoscaler_owns_the_replicas(self):
        objects = chart.manifests(POSTGRES | {"autoscaling": {"enabled": True}})
        self.assertNotIn("replicas", chart.workload(objects)["spec"])
        autoscaler = chart.one(objects, "HorizontalPodAutoscaler")
        self.assertEqual(autoscaler["spec"]["scaleTargetRef"]["kind"], "Deployment")

    def test_what_is_missing_is_said(self):
        self.assertIn("does not have the Postgres store yet", chart.render(POSTGRES)["NOTES.txt"])
        self.assertIn("lost with the pod", chart.render({"persistence": {"enabled": False}})["NOTES.txt"])
        self.assertNotIn("WARNING", chart.render({})["NOTES.txt"])


class Life(unittest.TestCase):
    def test_probes_over_http(self):
        of = container(chart.manifests({}))
        asked = {kind: of[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        self.assertEqual(asked, {kind: {"path": path, "port": "http"} for kind, path in [("startup", "/readyz"), ("liveness", "/livez"), ("readiness", "/readyz")]})

    def test_probes_over_grpc(self):
        of = container(chart.manifests({"probes": {"grpc": True}}))
        for kind in ("startup", "liveness", "readiness"):
            self.assertEqual(of[f"{kind}Probe"]["grpc"], {"port": 50051})
            self.assertNotIn("httpGet", of[f"{kind}Probe"])

    def test_time_to_drain(self):
        for _, values in chart.value_files():
            spec = chart.workload(chart.manifests(values))["spec"]["template"]["spec"]
            sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            grace = int(values.get("config", {}).get("shutdown", {}).get("grace", "20s").removesuffix("s"))
            self.assertGreater(spec["terminationGracePeriodSeconds"], sleep + grace)

    def test_helm_test_asks_the_service(self):
        objects = chart.manifests({"service": {"ports": {"grpc": 443}}})
        pod = chart.one(objects, "Pod")
        self.assertEqual(pod["metadata"]["annotations"]["helm.sh/hook"], "test")
        self.assertEqual(pod["spec"]["containers"][0]["args"], ["health", "--addr", "order-gateway:443"])
        for values in ({"tests": {"enabled": False}}, TLS | {"tests": {"caKey": ""}}, dict(chart.value_files())["mtls"]):
            self.assertNotIn("Pod", kinds(chart.manifests(values)))
        pod = chart.one(chart.manifests(TLS), "Pod")["spec"]
        self.assertEqual(pod["containers"][0]["args"][3:], ["--tls-ca", "/etc/order-gateway/tls/ca.crt"])
        self.assertEqual([item["key"] for item in pod["volumes"][0]["secret"]["items"]], ["ca.crt"], "never the key")


class Doors(unittest.TestCase):
    def test_only_the_webhooks_lead_in(self):
        objects = chart.manifests(dict(chart.value_files())["everything"])
        for rule in chart.one(objects, "Ingress")["spec"]["rules"]:
            self.assertEqual([(path["path"], path["pathType"]) for path in rule["http"]["paths"]], [("/webhooks/walmart/", "Prefix")])
            self.assertEqual(rule["http"]["paths"][0]["backend"]["service"]["port"], {"name": "http"})
        (rule,) = chart.one(objects, "HTTPRoute")["spec"]["rules"]
        self.assertEqual(rule["matches"], [{"path": {"type": "PathPrefix", "value": "/webhooks/walmart/"}}])
        self.assertEqual(rule["backendRefs"][0]["port"], 8080)
        self.assertEqual(chart.one(objects, "GRPCRoute")["spec"]["rules"][0]["backendRefs"][0]["port"], 50051)

    def test_services_say_what_they_speak(self):
        def protocols(values):
            ports = chart.one(chart.manifests(values), "Service", "order-gateway")["spec"]["ports"]
            return {port["name"]: port["appProtocol"] for port in ports}
        self.assertEqual(protocols({}), {"grpc": "kubernetes.io/h2c", "http": "http"})
        self.assertEqual(protocols(TLS), {"grpc": "https", "http": "http"})
        headless = chart.one(chart.manifests({"service": {"headless": {"enabled": True}}}), "Service", "-headless")
        self.assertEqual(headless["spec"]["clusterIP"], "None")

    def test_operators_have_a_door_of_their_own(self):
        for name, values in chart.value_files():
            with self.subTest(name):
                objects = chart.manifests(values)
                admin = chart.one(objects, "Service", "-admin")["spec"]
                self.assertEqual(admin["type"], "ClusterIP")
                self.assertEqual([(port["name"], port["targetPort"]) for port in admin["ports"]], [("admin", "admin")])
                for found in objects:
                    if found["kind"] == "Service" and not found["metadata"]["name"].endswith("-admin"):
                        self.assertEqual([port["targetPort"] for port in found["spec"]["ports"]], ["grpc", "http"])
                ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
                self.assertEqual(sorted(ports), ["admin", "grpc", "http"])
        notes = chart.render({"service": {"ports": {"admin": 9}}}, name="acme")["NOTES.txt"]
        self.assertIn("port-forward svc/acme-order-gateway-admin 8081:9 ", notes)
        self.assertEqual(chart.one(chart.manifests({"service": {"admin": {"annotations": {"a": "b"}}}}), "Service", "-admin")["metadata"]["annotations"], {"a": "b"})

    def test_each_door_has_its_peers(self):
        peers = {"networkPolicy": {f"{door}From": [{"podSelector": {"matchLabels": {"from": door}}}] for door in ("grpc", "http", "admin")}}
        rules = chart.one(chart.manifests(peers), "NetworkPolicy")["spec"]["ingress"]
        seen = {rule["ports"][0]["port"]: rule["from"][0]["podSelector"]["matchLabels"]["from"] for rule in rules}
        self.assertEqual(seen, {"grpc": "grpc", "http": "http", "admin": "admin"})

    def test_the_certificate_names_the_services(self):
        names = chart.one(chart.manifests(dict(chart.value_files())["mtls"]), "Certificate")["spec"]["dnsNames"]
        for name in ("order-gateway", "order-gateway.orders.svc", "order-gateway-headless.orders.svc.cluster.local", "gateway.example.com"):
            self.assertIn(name, names)

    def ports_out(self, values):
        egress = chart.one(chart.manifests(values), "NetworkPolicy")["spec"]["egress"]
        return [port["port"] for rule in egress for port in rule["ports"] if port.get("protocol") != "UDP"]

    def test_the_network_policy_follows_the_settings(self):
        self.assertEqual(self.ports_out({}), [53, 443])
        self.assertEqual(self.ports_out(POSTGRES), [53, 443, 5432])
        without_port = {"store": {"postgres": {"url": "postgres://gateway@db/orders", "existingSecret": "db"}}}
        self.assertEqual(self.ports_out(without_port), [53, 443, 5432])
        config = {"walmart": {"base_url": "https://walmart.example.com:8443"}, "telemetry": {"otlp_endpoint": "http://collector:4317"}}
        self.assertEqual(self.ports_out({"config": config}), [53, 8443, 4317])
        for rule in chart.one(chart.manifests({}), "NetworkPolicy")["spec"]["ingress"]:
            self.assertNotIn("from", rule)
        rules = chart.one(chart.manifests({"networkPolicy": {"grpcFrom": [{"podSelector": {}}]}}), "NetworkPolicy")["spec"]["ingress"]
        self.assertEqual(len(rules[0]["from"]), 2, "the pod of helm test may ask too")


class Operator(unittest.TestCase):
    def rendered(self, mode, api_versions):
        values = {"metrics": {name: {"enabled": True, "renderMode": mode} for name in ("serviceMonitor", "prometheusRule")}}
        return kinds(chart.manifests(values, api_versions=api_versions)) & {"ServiceMonitor", "PrometheusRule"}

    def test_render_mode(self):
        both = {"ServiceMonitor", "PrometheusRule"}
        by_kind = [f"monitoring.coreos.com/v1/{kind}" for kind in sorted(both)]
        for mode in ("skipIfMissing", "failIfMissing", "alwaysRender"):
            self.assertEqual(self.rendered(mode, chart.OPERATOR), both)
            self.assertEqual(self.rendered(mode, by_kind), both)
        self.assertEqual(self.rendered("skipIfMissing", []), set())
        self.assertEqual(self.rendered("alwaysRender", []), both)
        skipped = chart.render({"metrics": {"serviceMonitor": {"enabled": True}}}, api_versions=[])["NOTES.txt"]
        self.assertIn("no ServiceMonitor was made", skipped)

    def test_each_pod_is_scraped_once(self):
        objects = chart.manifests({"service": {"headless": {"enabled": True}}, "metrics": {"serviceMonitor": {"enabled": True}}})
        monitor = chart.one(objects, "ServiceMonitor")["spec"]
        selector = monitor["selector"]
        (endpoint,) = monitor["endpoints"]
        (out,) = selector["matchExpressions"]
        chosen = [found for found in objects if found["kind"] == "Service"
                  and selector["matchLabels"].items() <= found["metadata"]["labels"].items()
                  and found["metadata"]["labels"].get(out["key"]) not in out["values"]
                  and endpoint["port"] in [port["name"] for port in found["spec"]["ports"]]]
        self.assertEqual([found["metadata"]["name"] for found in chosen], ["order-gateway-admin"])
        # The alerts name the job so.
        self.assertEqual(endpoint["relabelings"], [{"targetLabel": "job", "replacement": "order-gateway"}])

    def test_rules_are_of_this_release(self):
        values = {"metrics": {"prometheusRule": {"enabled": True, "runbookURL": "https://example.com/book", "alertLabels": {"team": "orders"}, "disabled": ["OrderGatewaySlow"]}}}
        rule = chart.one(chart.manifests(values, name="acme"), "PrometheusRule")
        alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
        written = [alert for group in yaml.safe_load(chart.ALERTS.read_text())["groups"] for alert in group["rules"]]
        self.assertEqual(len(alerts), len(written) - 1)
        for alert in alerts:
            with self.subTest(alert["alert"]):
                self.assertIn('job="acme-order-gateway",namespace="orders"', alert["expr"])
                self.assertNotIn('job="order-gateway"', alert["expr"])
                self.assertEqual(alert["labels"]["team"], "orders")
                self.assertIn(alert["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(alert["annotations"]["runbook_url"], f"https://example.com/book#{alert['alert'].lower()}")


class Extras(unittest.TestCase):
    def test_are_all_there(self):
        values = dict(chart.value_files())["everything"]
        objects = chart.manifests(values)
        of = container(objects)
        self.assertEqual(of["args"], ["serve", "--config", "/etc/order-gateway/config/config.toml", "--config", "/etc/order-gateway/secrets/gateway.toml", "--log-format", "json"])
        self.assertIn({"name": "RUST_LOG", "value": "info"}, of["env"])
        self.assertEqual(of["envFrom"], values["extraEnvFrom"])
        self.assertEqual(volume(objects, "acme")["secret"]["secretName"], "acme-key")
        self.assertLessEqual({"order-gateway-extra", "order-gateway-text"}, {found["metadata"]["name"] for found in objects})
        token = volume(objects, "tokens")["projected"]["sources"][0]["serviceAccountToken"]
        self.assertEqual(token, {"path": "mesh", "audience": "mesh.example.com", "expirationSeconds": 3600})
        self.assertIsNone(volume(chart.manifests({}), "tokens"))
        spec = chart.workload(objects)["spec"]["template"]["spec"]
        for name in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"):
            self.assertEqual(spec[name], values[name])

    def test_images(self):
        for image, expected in [({}, "order-gateway:0.1.0"), ({"tag": "1"}, "order-gateway:1"),
                                ({"registry": "r.example.com", "repository": "a/b"}, "r.example.com/a/b:0.1.0"),
                                ({"tag": "1", "digest": "sha256:" + "0" * 64}, "order-gateway@sha256:" + "0" * 64)]:
            self.assertEqual(container(chart.manifests({"image": image}))["image"], expected)
