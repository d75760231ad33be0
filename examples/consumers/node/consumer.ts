// A consumer of customers' intents to cancel: three jobs for each, each once, whatever is killed and when.
// 1. pause fulfillment of the order    paused/<purchase order>.json
// 2. cancel the lines at Walmart       SellerOrderService.CancelOrderLines, with `intent_key` as `request_id`
// 3. write a note for support          notes/<intent key>.json
// The files stand for calls to a warehouse and a help desk. The settings are environment variables: see ../README.md.

import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import * as loader from '@grpc/proto-loader';
import type { ProtoGrpcType as Intents } from './generated/cancel_intents';
import type { ProtoGrpcType as Orders } from './generated/seller_orders';
import type { CancelOrderLinesResponse__Output } from './generated/ordergateway/v1/CancelOrderLinesResponse';
import type { Delivery__Output } from './generated/ordergateway/v1/Delivery';
import type { Verdict } from './generated/ordergateway/v1/Verdict';

const { GATEWAY_ADDRESS = '127.0.0.1:50051', GATEWAY_TOKEN, GATEWAY_ACCOUNT } = process.env;
const { GATEWAY_SUBSCRIPTION = 'cancel-desk', CONSUMER_ID = 'consumer-1', OUTPUT_FOLDER = 'cancel-desk' } = process.env;

const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, json: true };
const services = ['ordergateway/v1/cancel_intents.proto', 'ordergateway/v1/seller_orders.proto'];
const files = [...services, 'google/rpc/error_details.proto', 'google/rpc/status.proto'];
const protos = loader.loadSync(files, { ...options, includeDirs: ['proto', 'third_party'] });
const api = grpc.loadPackageDefinition(protos) as unknown as Intents & Orders & { google: any };
const times = { 'grpc.keepalive_time_ms': 20_000, 'grpc.max_reconnect_backoff_ms': 5_000 };
const connection = [GATEWAY_ADDRESS, grpc.credentials.createInsecure(), times] as const;
const intents = new api.ordergateway.v1.CancelIntentService(...connection);
const orders = new api.ordergateway.v1.SellerOrderService(...connection);
const metadata = new grpc.Metadata();
if (GATEWAY_TOKEN) metadata.set('authorization', `Bearer ${GATEWAY_TOKEN}`);

// Reasons that a repeated cancellation would get again: they go into the note.
const FINAL = ['IDEMPOTENCY_KEY_REUSED', 'INVALID_REQUEST', 'OPERATION_EXPIRED', 'UPSTREAM_NOT_FOUND', 'UPSTREAM_REJECTED'];
// Codes that waiting does not change: a wrong token or account, or a subscription that a person has to look at.
const HOPELESS = 'ALREADY_EXISTS FAILED_PRECONDITION INVALID_ARGUMENT NOT_FOUND OUT_OF_RANGE PERMISSION_DENIED UNAUTHENTICATED';

/** The reason of an error, and the time to wait before a repeat where the gateway names one. */
function details(error: grpc.ServiceError) {
  const bytes = error.metadata?.get('grpc-status-details-bin')[0]; // none when the gateway was not reached
  const found: any[] = bytes ? api.google.rpc.Status.deserialize(bytes).details : [];
  const of = (name: string) => found.find((detail) => detail['@type'].endsWith(`/google.rpc.${name}`));
  return { reason: String(of('ErrorInfo')?.reason ?? ''), delay: of('RetryInfo')?.retry_delay };
}

/** Waits as long as the gateway says, else longer each time. Ends the program when waiting is useless, as a crash would. */
async function backOff(error: grpc.ServiceError, attempt: number) {
  const { reason, delay } = details(error);
  console.error(`consumer: ${grpc.status[error.code]} ${reason}: ${error.details}`);
  if (HOPELESS.includes(grpc.status[error.code]) || reason === 'CONSUMER_REPLACED') process.exit(1);
  await sleep(delay ? Number(delay.seconds) * 1000 + delay.nanos / 1e6 : Math.random() * 500 * 2 ** Math.min(attempt, 4));
}

/** Writes what `make` returns into a file, durably and whole, unless the file is there. */
async function once(folder: string, name: string, make: () => Promise<object> | object) {
  const path = join(OUTPUT_FOLDER, folder, `${encodeURIComponent(name)}.json`);
  fs.mkdirSync(dirname(path), { recursive: true });
  if (!fs.existsSync(path)) {
    const content = JSON.stringify(await make());
    const draft = join(dirname(path), `.${encodeURIComponent(name)}.${encodeURIComponent(CONSUMER_ID)}`);
    fs.writeFileSync(draft, content, { flush: true });
    try {
      fs.linkSync(draft, path); // A rename would replace the file of a faster consumer.
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    fs.unlinkSync(draft);
  }
  const names = fs.openSync(dirname(path), 'r');
  fs.fsyncSync(names);
  fs.closeSync(names);
}

/** Cancels the lines, and returns what support has to know. Throws when the call has to be repeated. */
async function cancel(event: NonNullable<Delivery__Output['event']>): Promise<object> {
  const { purchase_order_id, order_lines } = event.intent!;
  const readable = order_lines.filter((line) => line.quantity?.measurement_value !== undefined); // Walmart's text is a number
  const lines = Object.fromEntries(readable.map((line) => [line.line_number, String(line.quantity!.measurement_value)]));
  const note = { purchase_order_id, intent_key: event.intent_key, lines };
  if (readable.length === 0) return { ...note, outcome: 'NO_LINES' };
  const cancellation_reason = 'CUSTOMER_REQUESTED_SELLER_TO_CANCEL';
  const order_line = Object.entries(lines).map(([line_number, amount]) => {
    const order_line_status = [{ cancellation_reason, status_quantity: { amount } }];
    return { line_number, order_line_statuses: { order_line_status } };
  });
  const order = { account: event.account, purchase_order_id, order_cancellation: { order_lines: { order_line } } };
  try {
    const [request, deadline] = [{ ...order, request_id: event.intent_key }, Date.now() + 30_000];
    const answer = await new Promise<CancelOrderLinesResponse__Output>((resolve, reject) =>
      orders.CancelOrderLines(request, metadata, { deadline }, (error, done) => (error ? reject(error) : resolve(done!))));
    if (answer.batches.some((batch) => batch.status === 'BATCH_STATUS_UNKNOWN')) throw new Error('some lines are not known yet');
    const refused = answer.batches.filter((batch) => batch.error).flatMap((batch) => batch.line_ids);
    return { ...note, outcome: answer.status, refused };
  } catch (error) {
    const failure = error as grpc.ServiceError;
    const { reason } = details(failure);
    if (!FINAL.includes(reason)) throw error;
    return { ...note, outcome: reason, code: grpc.status[failure.code], message: failure.details };
  }
}

/** Does the three jobs, then settles. The note comes last: an intent with a note is done. */
async function work({ event, lease }: Delivery__Output) {
  const { intent, intent_key, partner_mismatch } = event!;
  const verdict: Verdict = { lease };
  try {
    if (partner_mismatch || !intent_key) {
      verdict.park = { reason: 'the event names another seller, or no order' };
    } else {
      await once('paused', intent!.purchase_order_id, () => ({ intent_key }));
      await once('notes', intent_key, () => cancel(event!));
      verdict.ack = {};
    }
  } catch (error) {
    // Without a delay the subscription's back-off decides when the event comes again.
    const { reason, delay } = details(error as grpc.ServiceError);
    verdict.retry = { reason: reason || (error as Error).name, delay };
  }
  const request = { subscription: GATEWAY_SUBSCRIPTION, verdicts: [verdict] };
  for (let attempt = 0; ; attempt++) {
    const deadline = Date.now() + 10_000;
    const error = await new Promise<grpc.ServiceError | null>((resolve) =>
      intents.SettleCancelIntents(request, metadata, { deadline }, resolve));
    if (!error) return;
    await backOff(error, attempt);
  }
}

void (async function main() {
  const subscribe = {
    subscription: GATEWAY_SUBSCRIPTION,
    consumer_id: CONSUMER_ID,
    auto_extend: true, // A lease lasts as long as the work.
    reclaim: true, // Events that a crash left unsettled, or whose frame was lost, come again.
    create_if_missing: { max_attempts: 1000, filter: GATEWAY_ACCOUNT ? { accounts: [GATEWAY_ACCOUNT] } : null },
  };
  for (let failures = 0; ; failures++) {
    const working: Promise<void>[] = []; // A stream lives for half an hour, see grpc.max_connection_age.
    try {
      for await (const frame of intents.SubscribeCancelIntents(subscribe, metadata)) {
        failures = 0;
        if (frame.delivery) working.push(work(frame.delivery));
      }
    } catch (error) {
      await Promise.all(working); // `reclaim` would double this work.
      await backOff(error as grpc.ServiceError, failures);
    }
  }
})();
