// Creates orders with the Node client, whose types are generated: node order.js ADDRESS ROOT, ROOT being that of this repository.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import * as loader from '@grpc/proto-loader';

import type { ProtoGrpcType as Details } from './generated/error_details';
import type { ProtoGrpcType as Fulfillment } from './generated/fulfillment';
import type { ProtoGrpcType as Statuses } from './generated/status';
import type { CreateOrderRequest } from './generated/ordergateway/v1/CreateOrderRequest';
import type { CreateOrderResponse__Output } from './generated/ordergateway/v1/CreateOrderResponse';

const [address, root] = process.argv.slice(2);

// snippet: begin
const files = ['ordergateway/v1/fulfillment.proto', 'google/rpc/error_details.proto', 'google/rpc/status.proto'];
const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, json: true };
const protos = loader.loadSync(files, { ...options, includeDirs: [join(root, 'proto'), join(root, 'third_party')] });
const api = grpc.loadPackageDefinition(protos) as unknown as Fulfillment & Details & Statuses;
const config = { 'grpc.service_config': readFileSync(join(root, 'clients/service-config.json'), 'utf8') };
const orders = new api.ordergateway.v1.FulfillmentService(address, grpc.credentials.createInsecure(), config);

async function create(request: CreateOrderRequest, milliseconds: number): Promise<CreateOrderResponse__Output> {
  for (;;) {
    const deadline = Date.now() + milliseconds;
    const [error, answer] = await new Promise<[grpc.ServiceError | null, CreateOrderResponse__Output?]>((resolve) =>
      orders.CreateOrder(request, { deadline }, (...outcome) => resolve(outcome)));
    if (!error) return answer!;
    const bytes = error.metadata.get('grpc-status-details-bin')[0] as Buffer | undefined; // none when the gateway was not reached
    const details: any[] = bytes ? (api.google.rpc.Status.deserialize(bytes).details ?? []) : [];
    const [info, retry] = ['ErrorInfo', 'RetryInfo'].map((name) => details.find((one) => one['@type'].endsWith(`google.rpc.${name}`)));
    console.log('node:', grpc.status[error.code], info?.reason ?? '', info?.metadata?.correlationId ?? '');
    if (error.code !== grpc.status.UNAVAILABLE && error.code !== grpc.status.DEADLINE_EXCEEDED) throw error;
    const wait = retry ? Number(retry.retry_delay.seconds) * 1000 + retry.retry_delay.nanos / 1e6 : 1000;
    await sleep(wait); // then the same request: never a second order
  }
}
// snippet: end

/** The sample in the names of the protos, which `keepCase` keeps. */
function snake(value: any): any {
  if (Array.isArray(value)) return value.map(snake);
  if (value === null || typeof value !== 'object') return value;
  const name = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [name(key), snake(inner)]));
}

const sample = snake(JSON.parse(readFileSync(join(root, 'examples/create.json'), 'utf8')));

function order(number: string, city = 'San Francisco'): CreateOrderRequest {
  const request = structuredClone(sample);
  request.payload.seller_order_id = request.payload.customer_order_no = number;
  request.payload.order_items[0].shipping_to.address.city = city;
  return request;
}

async function main() {
  const show = (answer: CreateOrderResponse__Output) => console.log('node:', answer.status, answer.replayed ? 'replayed' : 'created');
  show(await create(order('NODE-1'), 10_000));
  show(await create(order('NODE-1'), 10_000));
  show(await create(order('MAGIC-DROP-AFTER-NODE'), 600)); // less time than finding the outcome takes
  await create(order('NODE-1', 'Oakland'), 10_000).then(show, () => console.log('node: refused'));
  orders.close();
}

main();
