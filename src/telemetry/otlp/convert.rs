//! Converts the metrics to OTLP: counters become cumulative sums, histograms keep their bounds.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric,
    number_data_point,
};
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as prometheus;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricType;

use crate::telemetry::semconv;

/// The time window of cumulative values, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeWindow {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// Converts all families with values.
pub(super) fn metrics(families: Vec<prometheus::MetricFamily>, span: TimeWindow) -> Vec<Metric> {
    families.into_iter().filter(|family| !family.metric.is_empty()).filter_map(|family| one(family, span)).collect()
}

fn one(family: prometheus::MetricFamily, span: TimeWindow) -> Option<Metric> {
    let kind = family.r#type();
    let (name, unit) = named(&family);
    // Derive the number type from the family, not from the value: a sum must not change between integers and
    // fractions.
    let whole = kind == MetricType::Counter && family.unit.is_empty();
    let metrics = family.metric;
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match kind {
        MetricType::Counter => {
            let values = metrics.into_iter().filter_map(|m| Some((m.label, m.counter?.value)));
            let data_points = values.map(|(label, value)| number(label, value, whole, span)).collect();
            metric::Data::Sum(Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true })
        }
        MetricType::Gauge => {
            let values = metrics.into_iter().filter_map(|m| Some((m.label, m.gauge?.value)));
            let data_points = values.map(|(label, value)| number(label, value, false, span)).collect();
            metric::Data::Gauge(Gauge { data_points })
        }
        MetricType::Histogram => {
            let values = metrics.into_iter().filter_map(|m| Some((m.label, m.histogram?)));
            let data_points = values.map(|(label, histogram)| distribution(label, &histogram, span)).collect();
            metric::Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative })
        }
        // The registry has no metrics of these types.
        MetricType::Summary | MetricType::Untyped | MetricType::GaugeHistogram => return None,
    };
    Some(Metric { name, description: family.help, unit, data: Some(data), ..Default::default() })
}

/// The name without unit and `_total`, and the unit as UCUM writes units.
fn named(family: &prometheus::MetricFamily) -> (String, String) {
    let name = family.name.strip_suffix("_total").unwrap_or(&family.name);
    let unit = family.unit.as_str();
    let name = name.strip_suffix(unit).and_then(|name| name.strip_suffix('_')).unwrap_or(name);
    let unit = match unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    };
    (semconv::metric(name), unit.to_owned())
}

fn number(label: Vec<prometheus::LabelPair>, value: f64, whole: bool, span: TimeWindow) -> NumberDataPoint {
    let value = match whole {
        true => number_data_point::Value::AsInt(value as i64),
        false => number_data_point::Value::AsDouble(value),
    };
    NumberDataPoint {
        attributes: attributes(label),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        value: Some(value),
        ..Default::default()
    }
}

/// Converts a histogram. Prometheus counts up to each bound, OTLP counts between bounds; the infinite bound is
/// implied.
fn distribution(
    label: Vec<prometheus::LabelPair>,
    histogram: &prometheus::Histogram,
    span: TimeWindow,
) -> HistogramDataPoint {
    let finite: Vec<_> =
        histogram.bucket.iter().filter(|b| b.upper_bound.is_finite() && b.upper_bound < f64::MAX).collect();
    let upto = finite.iter().map(|bucket| bucket.cumulative_count).chain([histogram.sample_count]);
    let bucket_counts = upto.scan(0, |before, upto| Some(upto.saturating_sub(std::mem::replace(before, upto))));
    HistogramDataPoint {
        attributes: attributes(label),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count: histogram.sample_count,
        sum: Some(histogram.sample_sum),
        bucket_counts: bucket_counts.collect(),
        explicit_bounds: finite.iter().map(|bucket| bucket.upper_bound).collect(),
        ..Default::default()
    }
}

fn attributes(labels: Vec<prometheus::LabelPair>) -> Vec<KeyValue> {
    labels.into_iter().map(attribute).collect()
}

/// Converts a label.
fn attribute(label: prometheus::LabelPair) -> KeyValue {
    let key = semconv::attribute(&label.name);
    let number = if semconv::is_number(&key) { label.value.parse().ok() } else { None };
    let value = number.map_or(Value::StringValue(label.value), Value::IntValue);
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::telemetry::metrics::Metrics;
    use crate::telemetry::trace::TraceContext;

    const CREATE: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";

    fn converted() -> Vec<Metric> {
        let metrics = Metrics::new([CREATE]);
        let trace = TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None };
        for millis in [30, 30, 700, 20_000] {
            metrics.method(CREATE).observe(Code::Ok, None, Duration::from_millis(millis), &trace);
        }
        metrics.panics.inc_by(3);
        metrics.connections.set(7);
        super::metrics(metrics.families().unwrap(), TimeWindow { start: 1, now: 2 })
    }

    fn find<'m>(all: &'m [Metric], name: &str) -> &'m Metric {
        let names = || all.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>();
        all.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is not in {:?}", names()))
    }

    #[test]
    fn histograms_keep_their_bounds_and_count_between_them() {
        let all = converted();
        let metric = find(&all, "rpc.server.call.duration");
        assert_eq!(metric.unit, "s");
        let Some(metric::Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        assert_eq!(histogram.aggregation_temporality, AggregationTemporality::Cumulative as i32);
        let point = &histogram.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano, point.count), (1, 2, 4));
        assert_eq!(point.sum, Some(20.76));
        assert_eq!(point.explicit_bounds.len() + 1, point.bucket_counts.len());
        assert_eq!((point.explicit_bounds[0], *point.explicit_bounds.last().unwrap()), (0.0001, 60.0));
        let filled: Vec<_> = point.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        // 0.025 to 0.05, 0.5 to 0.75, 10 to 30.
        assert_eq!(filled, [(8, &2), (13, &1), (19, &1)]);
        let attributes: Vec<_> = point.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(attributes, ["rpc.system.name", "rpc.method", "rpc.response.status_code"]);
    }

    #[test]
    fn counters_and_gauges_have_their_kind_and_name() {
        let all = converted();
        let Some(metric::Data::Sum(sum)) = &find(&all, "order_gateway.panics").data else { panic!() };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsInt(3)));
        let Some(metric::Data::Gauge(gauge)) = &find(&all, "order_gateway.connections").data else { panic!() };
        assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsDouble(7.0)));
        let build = find(&all, "order_gateway.build_info");
        let Some(metric::Data::Gauge(gauge)) = &build.data else { panic!() };
        assert_eq!(gauge.data_points[0].attributes[0].key, "version");
        // Without their units, which go beside them.
        for metric in &all {
            for ending in ["_total", "_seconds", "_bytes"] {
                assert!(!metric.name.ends_with(ending), "{}", metric.name);
            }
        }
    }
}
