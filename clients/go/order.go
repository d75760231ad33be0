// Command order creates orders with the generated Go client: order ADDRESS ROOT, ROOT being that of this repository.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "ordergateway/v1"
)

func order(sample []byte, number, city string) *pb.CreateOrderRequest {
	request := &pb.CreateOrderRequest{}
	must(protojson.Unmarshal(sample, request))
	request.Payload.SellerOrderId, request.Payload.CustomerOrderNo = &number, &number
	request.Payload.OrderItems[0].ShippingTo.Address.City = &city
	return request
}

func must(err error) {
	if err != nil {
		fmt.Println("go:", err)
		os.Exit(1)
	}
}

func main() {
	address, root := os.Args[1], os.Args[2]
	config, err := os.ReadFile(filepath.Join(root, "clients/service-config.json"))
	must(err)
	sample, err := os.ReadFile(filepath.Join(root, "examples/create.json"))
	must(err)
	// snippet: begin
	channel, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithDefaultServiceConfig(string(config)))
	orders := pb.NewFulfillmentServiceClient(channel)
	// snippet: end
	must(err)
	calls := []struct {
		request *pb.CreateOrderRequest
		limit   time.Duration
	}{
		{order(sample, "GO-1", "San Francisco"), 10 * time.Second},
		{order(sample, "GO-1", "San Francisco"), 10 * time.Second},
		// Less time than finding the outcome takes.
		{order(sample, "MAGIC-DROP-AFTER-GO", "San Francisco"), 600 * time.Millisecond},
		{order(sample, "GO-1", "Oakland"), 10 * time.Second},
	}
	for _, call := range calls {
		answer, err := create(orders, call.request, call.limit)
		switch {
		case err != nil:
			fmt.Println("go: refused")
		case answer.Replayed:
			fmt.Println("go:", answer.GetStatus(), "replayed")
		default:
			fmt.Println("go:", answer.GetStatus(), "created")
		}
	}
}

// snippet: begin
func create(orders pb.FulfillmentServiceClient, request *pb.CreateOrderRequest, limit time.Duration) (*pb.CreateOrderResponse, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), limit) // the deadline
		answer, err := orders.CreateOrder(ctx, request)
		cancel()
		wait := time.Second
		for _, detail := range status.Convert(err).Details() { // none when the gateway was not reached
			switch detail := detail.(type) {
			case *errdetails.ErrorInfo:
				fmt.Println("go:", status.Code(err), detail.Reason, detail.Metadata["correlationId"])
			case *errdetails.RetryInfo:
				wait = detail.RetryDelay.AsDuration()
			}
		}
		if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
			return answer, err // an answer, or a final error
		}
		time.Sleep(wait) // then the same request: never a second order
	}
}

// snippet: end
