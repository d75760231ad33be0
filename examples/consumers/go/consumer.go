// Command consumer acts on customers' intents to cancel: three jobs for each, each once, whatever is killed and when.
//
//  1. pause fulfillment of the order    paused/<purchase order>.json
//  2. cancel the lines at Walmart       SellerOrderService.CancelOrderLines, with `intent_key` as `request_id`
//  3. write a note for support          notes/<intent key>.json
//
// The files stand for calls to a warehouse and a help desk. The settings are environment variables: see ../README.md.
package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	pb "ordergateway/v1"
)

// Reasons that a repeated cancellation would get again: they go into the note.
const final = "IDEMPOTENCY_KEY_REUSED INVALID_REQUEST OPERATION_EXPIRED UPSTREAM_NOT_FOUND UPSTREAM_REJECTED"

type note map[string]interface{}

type consumer struct {
	intents      pb.CancelIntentServiceClient
	orders       pb.SellerOrderServiceClient
	subscription string
}

// cancel cancels the lines. It returns what support has to know, or an error when the call has to be repeated.
func (c *consumer) cancel(ctx context.Context, event *pb.Event) (note, error) {
	order, lines, wanted := event.Intent.PurchaseOrderId, map[string]string{}, &pb.OrderCancellationLines{}
	reason := "CUSTOMER_REQUESTED_SELLER_TO_CANCEL"
	for _, line := range event.Intent.OrderLines {
		if line.Quantity == nil || line.Quantity.MeasurementValue == nil {
			continue // Walmart's text was no number.
		}
		units := strconv.FormatFloat(*line.Quantity.MeasurementValue, 'f', -1, 64)
		lines[line.LineNumber] = units
		status := &pb.LineStatus{CancellationReason: &reason, StatusQuantity: &pb.LineQuantity{Amount: &units}}
		wanted.OrderLine = append(wanted.OrderLine, &pb.OrderCancellationLine{
			LineNumber:        &line.LineNumber,
			OrderLineStatuses: &pb.LineStatuses{OrderLineStatus: []*pb.LineStatus{status}},
		})
	}
	told := note{"purchase_order_id": order, "intent_key": event.IntentKey, "lines": lines, "outcome": "NO_LINES"}
	if len(lines) == 0 {
		return told, nil
	}
	ctx, done := context.WithTimeout(ctx, 30*time.Second)
	defer done()
	answer, err := c.orders.CancelOrderLines(ctx, &pb.CancelOrderLinesRequest{
		Account:           event.Account,
		RequestId:         event.IntentKey,
		PurchaseOrderId:   order,
		OrderCancellation: &pb.OrderCancellation{OrderLines: wanted},
	})
	if reason, _ := details(err); reason != "" && strings.Contains(final, reason) {
		told["outcome"], told["code"], told["message"] = reason, status.Code(err).String(), status.Convert(err).Message()
		return told, nil
	}
	refused := []string{}
	for _, batch := range answer.GetBatches() {
		if batch.Status == pb.BatchStatus_BATCH_STATUS_UNKNOWN {
			err = errors.New("the outcome of some lines is not known yet")
		} else if batch.Error != nil {
			refused = append(refused, batch.LineIds...)
		}
	}
	told["outcome"], told["refused"] = answer.GetStatus(), refused
	return told, err
}

// jobs does the three jobs. The note comes last: an intent with a note is done.
func (c *consumer) jobs(ctx context.Context, event *pb.Event) error {
	pause := func() (note, error) { return note{"intent_key": event.IntentKey}, nil }
	if err := once("paused", event.Intent.PurchaseOrderId, pause); err != nil {
		return err
	}
	return once("notes", event.IntentKey, func() (note, error) { return c.cancel(ctx, event) })
}

// work acts on one delivery, and settles it.
func (c *consumer) work(ctx context.Context, delivery *pb.Delivery) {
	event, verdict := delivery.Event, &pb.Verdict{Lease: delivery.Lease, Verdict: &pb.Verdict_Ack{Ack: &pb.Ack{}}}
	if event.PartnerMismatch || event.IntentKey == "" {
		verdict.Verdict = &pb.Verdict_Park{Park: &pb.Park{Reason: "the event names another seller, or no order"}}
	} else if err := c.jobs(ctx, event); err != nil {
		reason, delay := details(err) // Without a delay the subscription's back-off decides when the event comes again.
		verdict.Verdict = &pb.Verdict_Retry{Retry: &pb.Retry{Reason: reason, Delay: delay}}
	}
	request := &pb.SettleCancelIntentsRequest{Subscription: c.subscription, Verdicts: []*pb.Verdict{verdict}}
	for attempt := 0; ; attempt++ {
		ctx, done := context.WithTimeout(ctx, 10*time.Second)
		_, err := c.intents.SettleCancelIntents(ctx, request)
		done()
		if err == nil {
			return
		}
		backOff(err, attempt)
	}
}

func main() {
	ctx, channel := connect(setting("GATEWAY_ADDRESS", "127.0.0.1:50051"), os.Getenv("GATEWAY_TOKEN"))
	subscription := setting("GATEWAY_SUBSCRIPTION", "cancel-desk")
	c := consumer{pb.NewCancelIntentServiceClient(channel), pb.NewSellerOrderServiceClient(channel), subscription}
	workers, attempts := uint32(8), uint32(1000) // Events are parked, for people, after more than a day of failures.
	request := &pb.SubscribeCancelIntentsRequest{
		Subscription:         subscription,
		ConsumerId:           setting("CONSUMER_ID", "consumer-1"),
		MaxOutstandingEvents: &workers,
		AutoExtend:           true, // A lease lasts as long as the work.
		Reclaim:              true, // Events that a crash left unsettled, or whose frame was lost, come again.
		CreateIfMissing:      &pb.Subscription{MaxAttempts: &attempts},
	}
	if account := os.Getenv("GATEWAY_ACCOUNT"); account != "" {
		request.CreateIfMissing.Filter = &pb.Filter{Accounts: []string{account}}
	}
	for failures := 0; ; failures++ {
		var working sync.WaitGroup
		stream, err := c.intents.SubscribeCancelIntents(ctx, request)
		for err == nil {
			var frame *pb.SubscribeCancelIntentsResponse
			frame, err = stream.Recv()
			if delivery := frame.GetDelivery(); delivery != nil {
				working.Add(1)
				go func() {
					defer working.Done()
					c.work(ctx, delivery)
				}()
			}
			if err == nil {
				failures = 0
			}
		}
		working.Wait() // `reclaim` would double this work.
		backOff(err, failures)
	}
}
