package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/jaeger"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/zipkin"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.26.0"
	"go.opentelemetry.io/otel/trace"
)

// exporter creates one as its documentation shows; the destination is in the environment.
func exporter(ctx context.Context, name string) (sdktrace.SpanExporter, error) {
	switch name {
	case "otlp-grpc":
		return otlptracegrpc.New(ctx)
	case "otlp-http":
		return otlptracehttp.New(ctx)
	case "zipkin":
		return zipkin.New("")
	case "jaeger-http":
		return jaeger.New(jaeger.WithCollectorEndpoint())
	case "jaeger-udp":
		return jaeger.New(jaeger.WithAgentEndpoint())
	}
	return nil, fmt.Errorf("unknown exporter %q", name)
}

// clock is advanced by programs instead of sleeping.
type clock struct{ now time.Time }

func (c *clock) sleep(seconds float64) {
	c.now = c.now.Add(time.Duration(seconds * float64(time.Second)))
}

func (c *clock) start() trace.SpanStartOption { return trace.WithTimestamp(c.now) }
func (c *clock) end() trace.SpanEndOption     { return trace.WithTimestamp(c.now) }
func (c *clock) at() trace.EventOption        { return trace.WithTimestamp(c.now) }

type operation struct {
	name    string
	seconds float64
}

type stage struct {
	name       string
	operations []operation
}

// run is one line of the plan.
type run struct {
	number string
	clock  clock
	stages []stage
}

func parse(line string) (run, error) {
	parts := strings.Split(line, "\t")
	if len(parts) != 4 {
		return run{}, fmt.Errorf("a line of a plan has four fields: %q", line)
	}
	start, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return run{}, err
	}
	one := run{number: parts[1], clock: clock{now: time.Unix(start, 0)}}
	for _, pair := range strings.Split(parts[3], ";") {
		path, value, _ := strings.Cut(pair, "=")
		in, name, _ := strings.Cut(path, "/")
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return run{}, err
		}
		if len(one.stages) == 0 || one.stages[len(one.stages)-1].name != in {
			one.stages = append(one.stages, stage{name: in})
		}
		last := &one.stages[len(one.stages)-1]
		last.operations = append(last.operations, operation{name, seconds})
	}
	// The SDK reads this variable each time a provider is created.
	return one, os.Setenv("OTEL_RESOURCE_ATTRIBUTES", parts[2])
}

// eachRun calls program for each line of stdin, and prints each sent run.
func eachRun(name string, program func(context.Context, trace.Tracer, *run) error) error {
	ctx := context.Background()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		one, err := parse(lines.Text())
		if err != nil {
			return err
		}
		to, err := exporter(ctx, name)
		if err != nil {
			return err
		}
		provider := sdktrace.NewTracerProvider(
			sdktrace.WithBatcher(to),
			sdktrace.WithResource(resource.NewWithAttributes(
				semconv.SchemaURL,
				semconv.ServiceNameKey.String("pipeline-engine"),
				semconv.ServiceVersionKey.String("1.0.0"),
			)),
		)
		if err := program(ctx, provider.Tracer("pipeline-engine"), &one); err != nil {
			return err
		}
		if err := provider.Shutdown(ctx); err != nil {
			return err
		}
		fmt.Println("sent", one.number)
	}
	return lines.Err()
}
