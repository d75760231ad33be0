import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.ordergateway.v1.CreateOrderRequest;
import com.ordergateway.v1.CreateOrderResponse;
import com.ordergateway.v1.FulfillmentServiceGrpc.FulfillmentServiceBlockingStub;
import com.ordergateway.v1.FulfillmentServiceGrpc;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Creates orders with the generated Java client: CreateOrders ADDRESS ROOT, ROOT being that of this repository. */
final class CreateOrders {
  static CreateOrderRequest order(String sample, String number, String city) throws Exception {
    var request = CreateOrderRequest.newBuilder();
    JsonFormat.parser().merge(sample, request);
    request.getPayloadBuilder().setSellerOrderId(number).setCustomerOrderNo(number);
    request.getPayloadBuilder().getOrderItemsBuilder(0).getShippingToBuilder().getAddressBuilder().setCity(city);
    return request.build();
  }

  static void show(CreateOrderResponse answer) {
    System.out.println("java: " + answer.getStatus() + (answer.getReplayed() ? " replayed" : " created"));
  }

  @SuppressWarnings("unchecked")
  public static void main(String[] arguments) throws Exception {
    Path root = Path.of(arguments[1]);
    Map<String, ?> config = new Gson().fromJson(Files.readString(root.resolve("clients/service-config.json")), Map.class);
    String sample = Files.readString(root.resolve("examples/create.json"));
    String address = arguments[0];
    // snippet: begin
    var channel = ManagedChannelBuilder.forTarget(address).usePlaintext().defaultServiceConfig(config).enableRetry().build();
    var orders = FulfillmentServiceGrpc.newBlockingStub(channel);
    // snippet: end
    show(create(orders, order(sample, "JAVA-1", "San Francisco"), 10_000));
    show(create(orders, order(sample, "JAVA-1", "San Francisco"), 10_000));
    show(create(orders, order(sample, "MAGIC-DROP-AFTER-JAVA", "San Francisco"), 600)); // less time than finding the outcome takes
    try {
      show(create(orders, order(sample, "JAVA-1", "Oakland"), 10_000));
    } catch (StatusRuntimeException error) {
      System.out.println("java: refused");
    }
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  // snippet: begin
  static CreateOrderResponse create(FulfillmentServiceBlockingStub orders, CreateOrderRequest request, long milliseconds)
      throws Exception {
    while (true) {
      try {
        return orders.withDeadlineAfter(milliseconds, TimeUnit.MILLISECONDS).createOrder(request); // the deadline
      } catch (StatusRuntimeException error) {
        var status = StatusProto.fromThrowable(error); // null when the gateway was not reached
        var info = ErrorInfo.getDefaultInstance();
        long wait = 1000;
        for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
          if (detail.is(ErrorInfo.class)) info = detail.unpack(ErrorInfo.class);
          if (detail.is(RetryInfo.class)) wait = Durations.toMillis(detail.unpack(RetryInfo.class).getRetryDelay());
        }
        Code code = error.getStatus().getCode();
        System.out.println("java: " + code + " " + info.getReason() + " " + info.getMetadataOrDefault("correlationId", ""));
        if (!Set.of(Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED).contains(code)) throw error;
        Thread.sleep(wait); // then the same request: never a second order
      }
    }
  }
  // snippet: end
}
