// Creates orders with the Node client, whose types are generated: node order.js ADDRESS ROOT, ROOT being that of this repository.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { ProtoGrpcType as Details } from './generated/error_details';
import type { ProtoGrpcType as Fulfillment } from './generated/fulfillment';
import type { ProtoGrpcType as Statuses } from './generated/status';
import type { CreateOrderRequest } from './generated/ordergateway/v1/CreateOrderRequest';
import type { CreateOrderResponse__Output } from './generated/ordergateway/v1/CreateOrderResponse';

const [address, root] = process.argv.slice(2);

// snippet: begin
import * as grpc from '@grpc/grpc-js';
import * as loader from '@grpc/proto-loader';

const files = ['ordergateway/v1/fulfillment.proto', 'google/rpc/error_details.proto', 'google/rpc/status.proto'];
const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, json: true };
const protos = loader.loadSync(files, { ...options, includeDirs: [join(root, 'proto'), join(root, 'third_party')] });
const api = grpc.loadPackageDefinition(protos) as unknown as Fulfillment & Details & Statuses;

const orders = new api.ordergateway.v1.FulfillmentService(address, grpc.credentials.createInsecure(), {
  'grpc.service_config': readFileSync(join(root, 'clients/service-config.json'), 'utf8'),
});

async function create(request: CreateOrderRequest, milliseconds: number): Promise<CreateOrderResponse__Output> {
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      return await new Promise((resolve, reject) =>
        orders.CreateOrder(request, { deadline: Date.now() + milliseconds }, (error, answer) => (error ? reject(error) : resolve(answer!))));
    } catch (error) {
      const { code, metadata } = error as grpc.ServiceError;
      const { info, retry } = details(metadata);
      console.log('node:', grpc.status[code], info?.reason ?? '', info?.metadata?.correlationId ?? '');
      if (code !== grpc.status.UNAVAILABLE && code !== grpc.status.DEADLINE_EXCEEDED) throw error;
      const wait = retry ? Number(retry.retry_delay.seconds) * 1000 + retry.retry_delay.nanos / 1e6 : 1000;
      await new Promise((resume) => setTimeout(resume, wait)); // then the same request: never a second order
    }
  }
  throw new Error('still unknown; repeat the same request later');
}

function details(metadata: grpc.Metadata) {
  const bytes = metadata.get('grpc-status-details-bin')[0] as Buffer | undefined; // none when the gateway was not reached
  const found = bytes ? api.google.rpc.Status.deserialize(bytes).details : [];
  const of = (name: string) => found.find((detail: any) => detail['@type'].endsWith(`/${name}`)) as any;
  return { info: of('google.rpc.ErrorInfo'), retry: of('google.rpc.RetryInfo') };
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
