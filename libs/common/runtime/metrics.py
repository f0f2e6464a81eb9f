"""Every metric there is. Dashboards and alerts may only use names declared here. Only importer of prometheus_client."""

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import ProcessCollector as _ProcessCollector


class Metric(msgspec.Struct, frozen=True):
    """One declared metric: its name, what it tells, its labels, and buckets where it is a histogram."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_LATENCY_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

CATALOGUE = (
    Metric("tickwire_service_info", "gauge", "1 for the running service and version", ("service", "version")),
    Metric("tickwire_service_ready", "gauge", "1 once inputs are joined and nothing replays", ("service",)),
    Metric("tickwire_service_start_seconds", "gauge", "Unix time of the process start", ("service",)),
    Metric("tickwire_service_loop_lag_seconds", "gauge", "worst event-loop delay of the last second", ("service",)),
    Metric("tickwire_service_heartbeat_seconds", "gauge", "Unix time of the last heartbeat", ("service",)),
    Metric("tickwire_service_messages_in_total", "counter", "messages handled", ("service", "root")),
    Metric("tickwire_service_messages_out_total", "counter", "messages published", ("service", "root")),
    Metric("tickwire_service_handle_seconds", "histogram", "time a core took for one batch", ("service",), _LATENCY_S),
    Metric("tickwire_service_dead_letters_total", "counter", "messages that could not be decoded", ("service",)),
    Metric("tickwire_service_snapshots_total", "counter", "snapshots written", ("service",)),
    Metric("tickwire_service_snapshot_bytes", "gauge", "size of the last snapshot", ("service",)),
    Metric("tickwire_service_replayed_inputs_total", "counter", "inputs replayed at start", ("service",)),
    Metric("tickwire_bus_connected", "gauge", "1 while the bus is reached", ("service",)),
    Metric("tickwire_bus_reconnects_total", "gauge", "reconnections since the start", ("service",)),
    Metric("tickwire_bus_gaps_detected_total", "gauge", "holes found in sequences", ("service",)),
    Metric("tickwire_bus_gaps_filled_total", "gauge", "holes filled from the stream", ("service",)),
    Metric("tickwire_bus_messages_lost_total", "gauge", "messages nobody holds any more", ("service",)),
    Metric("tickwire_bus_republished_total", "gauge", "messages sent again because the stream lacked them", ("service",)),
    Metric("tickwire_ingest_ticks_total", "counter", "good ticks published", ("symbol",)),
    Metric("tickwire_ingest_quarantined_total", "counter", "ticks kept back", ("symbol", "rule")),
    Metric("tickwire_ingest_feed_stale", "gauge", "1 while the feed is silent too long", ("symbol",)),
    Metric("tickwire_ingest_recorder_errors_total", "counter", "writes to the tick store that failed"),
    Metric("tickwire_features_rows_total", "counter", "feature rows emitted", ("symbol",)),
    Metric("tickwire_inference_predictions_total", "counter", "predictions made", ("symbol", "side")),
    Metric("tickwire_inference_model_version", "gauge", "version of the champion", ("symbol",)),
    Metric("tickwire_inference_drift_psi", "gauge", "highest population stability index", ("symbol",)),
    Metric("tickwire_inference_bundles_rejected_total", "counter", "bundles that failed verification"),
    Metric("tickwire_risk_approvals_total", "counter", "orders approved", ("symbol",)),
    Metric("tickwire_risk_refusals_total", "counter", "orders refused", ("reason",)),
    Metric("tickwire_risk_halted", "gauge", "1 while trading is halted"),
    Metric("tickwire_executor_orders_total", "counter", "orders by what became of them", ("state",)),
    Metric("tickwire_executor_orders_unknown", "gauge", "orders whose outcome nobody knows"),
    Metric("tickwire_executor_equity_ccy", "gauge", "account equity", ("account",)),
    Metric("tickwire_executor_balance_ccy", "gauge", "account balance", ("account",)),
    Metric("tickwire_executor_open_positions", "gauge", "open positions", ("account",)),
    Metric("tickwire_executor_slippage_points", "histogram", "fill price against approved price", ("symbol",),
           (-50.0, -20.0, -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)),
    Metric("tickwire_trainer_trainings_total", "counter", "trainings by outcome", ("symbol", "outcome")),
    Metric("tickwire_trainer_samples", "gauge", "labelled rows held", ("symbol",)),
    Metric("tickwire_trainer_training_seconds", "gauge", "length of the last training", ("symbol",)),
)

_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class Metrics:
    """The declared metrics of one process, made at first use."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        _ProcessCollector(registry=self._registry)
        self._declared = {metric.name: metric for metric in CATALOGUE}
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def _get(self, name: str) -> Counter | Gauge | Histogram:
        found = self._made.get(name)
        if found is None:
            metric = self._declared[name]
            extra = {"buckets": metric.buckets} if metric.buckets else {}
            # The library adds _total to counters by itself.
            bare = name.removesuffix("_total") if metric.kind == "counter" else name
            found = _KINDS[metric.kind](bare, metric.text, metric.labels, registry=self._registry, **extra)
            self._made[name] = found
        return found

    def counter(self, name: str) -> Counter:
        """Return a declared counter; KeyError when it is not in the catalogue."""
        found = self._get(name)
        assert isinstance(found, Counter), name
        return found

    def gauge(self, name: str) -> Gauge:
        """Return a declared gauge; KeyError when it is not in the catalogue."""
        found = self._get(name)
        assert isinstance(found, Gauge), name
        return found

    def histogram(self, name: str) -> Histogram:
        """Return a declared histogram; KeyError when it is not in the catalogue."""
        found = self._get(name)
        assert isinstance(found, Histogram), name
        return found

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
