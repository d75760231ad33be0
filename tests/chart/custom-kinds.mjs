// Reads a JSON list of manifests of custom kinds from stdin, prints a JSON list of what is wrong with each: "" is right.
// Run from the folder that has node_modules: node --input-type=module --eval "$(cat custom-kinds.mjs)"
import { readFileSync } from "node:fs";

const models = {
  "monitoring.coreos.com/v1": await import("@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1"),
  "gateway.networking.k8s.io/v1": await import("@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1"),
  "cert-manager.io/v1": await import("@kubernetes-models/cert-manager/cert-manager.io/v1"),
};

const faults = JSON.parse(readFileSync(0, "utf8")).map((manifest) => {
  const Model = models[manifest.apiVersion]?.[manifest.kind];
  if (!Model) return `no model of ${manifest.apiVersion} ${manifest.kind}`;
  try {
    new Model(manifest).validate();
    return "";
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(faults));
