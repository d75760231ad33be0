// A real `dev` process and its callers.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = new URL("../../", import.meta.url);
const program = process.env.ORDER_GATEWAY ?? new URL("target/debug/order-gateway", root).pathname;

export class Gateway {
  // Listens where an earlier one did, or on free ports.
  static async start({ grpc = "127.0.0.1:0", http = "127.0.0.1:0" } = {}) {
    const args = ["dev", `--grpc-listen=${grpc}`, `--http-listen=${http}`, "--emulator-listen=127.0.0.1:0", "--intent-every=0s"];
    const gateway = new Gateway();
    gateway.process = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    gateway.ended = once(gateway.process, "exit");
    const said = [];
    const lines = createInterface({ input: gateway.process.stderr });
    await Promise.race([
      new Promise((ready) => lines.on("line", (line) => {
        said.push(line);
        const [, name, address] = /^ {2}(gRPC|HTTP) +([0-9.:]+) /.exec(line) ?? [];
        if (name) gateway[name.toLowerCase()] = address;
        if (line.startsWith("Ready.")) ready();
      })),
      gateway.ended.then(() => { throw new Error(`the gateway did not start:\n${said.join("\n")}`); }),
    ]);
    return gateway;
  }

  // A call by grpcurl; gives what it printed, whether or not the call failed.
  async call(method, message, ...flags) {
    const args = ["-plaintext", ...flags, "-d", JSON.stringify(message), this.grpc, `ordergateway.v1.${method}`];
    const { stdout, stderr } = await run("grpcurl", args).catch((failed) => failed);
    return stdout + stderr;
  }

  async trigger(...flags) {
    await run(program, ["trigger", "cancel-intent", `--url=http://${this.http}`, ...flags]);
  }

  async kill(signal) {
    this.process.kill(signal);
    await this.ended;
  }
}

export const example = (name) => JSON.parse(readFileSync(new URL(`examples/${name}.json`, root), "utf8"));

// The sample order under another number.
export function order(number) {
  const body = example("create");
  body.payload.sellerOrderId = number;
  body.payload.customerOrderNo = number;
  return body;
}
