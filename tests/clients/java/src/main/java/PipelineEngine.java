import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.baggage.propagation.W3CBaggagePropagator;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.ContextPropagators;
import io.opentelemetry.context.propagation.TextMapPropagator;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.ResourceConfiguration;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * The pipeline engine: a pipeline, its stages, their operations. The argument is the exporter,
 * {@code otlp-grpc} or {@code otlp-http}; its destination is in OTEL_EXPORTER_OTLP_ENDPOINT.
 */
public final class PipelineEngine {
    private final Tracer tracer;
    private final Run run;

    private PipelineEngine(Tracer tracer, Run run) {
        this.tracer = tracer;
        this.run = run;
    }

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Run run = new Run(line);
            OpenTelemetrySdk sdk = sdk(run, exporter(arguments[0]));
            new PipelineEngine(sdk.getTracer("pipeline-engine-tracer"), run).executePipeline();
            sdk.getSdkTracerProvider().shutdown().join(30, TimeUnit.SECONDS);
            System.out.println("sent " + run.number);
        }
    }

    private static SpanExporter exporter(String name) {
        String endpoint = System.getenv("OTEL_EXPORTER_OTLP_ENDPOINT");
        Duration timeout = Duration.ofSeconds(10);
        return switch (name) {
            case "otlp-grpc" -> OtlpGrpcSpanExporter.builder().setEndpoint(endpoint).setTimeout(timeout).build();
            case "otlp-http" -> OtlpHttpSpanExporter.builder()
                    .setEndpoint(endpoint + "/v1/traces")
                    .setTimeout(timeout)
                    .build();
            default -> throw new IllegalArgumentException("Unknown exporter " + name);
        };
    }

    private static OpenTelemetrySdk sdk(Run run, SpanExporter exporter) {
        // Without autoconfigure, the SDK does not read OTEL_RESOURCE_ATTRIBUTES. The equivalent system
        // property can change for each run within one process.
        System.setProperty("otel.resource.attributes", run.resource);
        Resource resource = Resource.getDefault()
                .merge(ResourceConfiguration.createEnvironmentResource())
                .merge(Resource.create(Attributes.of(
                        AttributeKey.stringKey("service.name"), "pipeline-engine",
                        AttributeKey.stringKey("service.version"), "1.0.0")));
        SdkTracerProvider provider = SdkTracerProvider.builder()
                .addSpanProcessor(BatchSpanProcessor.builder(exporter).build())
                .setResource(resource)
                .setClock(run)
                .build();
        return OpenTelemetrySdk.builder()
                .setTracerProvider(provider)
                .setPropagators(ContextPropagators.create(TextMapPropagator.composite(
                        W3CTraceContextPropagator.getInstance(), W3CBaggagePropagator.getInstance())))
                .build();
    }

    private void executePipeline() {
        Span pipeline = tracer.spanBuilder("pipeline-execution")
                .setAttribute("pipeline.id", "pipeline-" + run.number)
                .setAttribute("pipeline.trigger", "push")
                .startSpan();
        try (Scope scope = pipeline.makeCurrent()) {
            run.stages.forEach(this::executeStage);
            pipeline.setStatus(StatusCode.OK);
        } finally {
            pipeline.end();
        }
    }

    private void executeStage(String name, Map<String, Double> operations) {
        Span stage = tracer.spanBuilder(name + "-stage").setAttribute("stage.name", name).startSpan();
        try (Scope scope = stage.makeCurrent()) {
            stage.addEvent("stage-started");
            operations.forEach(this::executeOperation);
            stage.addEvent("stage-completed");
            stage.setStatus(StatusCode.OK);
        } finally {
            stage.end();
        }
    }

    private void executeOperation(String name, double seconds) {
        Span operation = tracer.spanBuilder(name).setAttribute("operation", name).startSpan();
        run.sleep(seconds);
        operation.end();
    }
}
