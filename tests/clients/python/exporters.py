"""Python's exporters, each created as its documentation shows; the destination is in the environment.
Imports are inside the functions, because no single environment can hold all exporters."""


def otlp_grpc():
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def otlp_http():
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def otlp_json():
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def zipkin_v1():
    from opentelemetry.exporter.zipkin.encoder import Protocol
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    # Without a length, this version of the exporter fails on every text.
    return ZipkinExporter(version=Protocol.V1, max_tag_value_length=256)


def zipkin_v2():
    from opentelemetry.exporter.zipkin.json import ZipkinExporter

    return ZipkinExporter()


def zipkin_proto():
    from opentelemetry.exporter.zipkin.proto.http import ZipkinExporter

    return ZipkinExporter()


def jaeger_thrift():
    """Sends to the agent over UDP, or over HTTP if OTEL_EXPORTER_JAEGER_ENDPOINT is set."""
    from opentelemetry.exporter.jaeger.thrift import JaegerExporter

    return JaegerExporter()


def jaeger_grpc():
    from opentelemetry.exporter.jaeger.proto.grpc import JaegerExporter

    return JaegerExporter()


EXPORTERS = {
    "otlp-grpc": otlp_grpc,
    "otlp-http": otlp_http,
    "otlp-json": otlp_json,
    "zipkin-v1": zipkin_v1,
    "zipkin-v2": zipkin_v2,
    "zipkin-proto": zipkin_proto,
    "jaeger-thrift": jaeger_thrift,
    "jaeger-grpc": jaeger_grpc,
}
