// The pipeline tracer: a pipeline, its stages, their operations. Usage: `clients EXPORTER`. With
// `as-written`, the build's operations end before their work is done, so their duration is zero.
package main

import (
	"context"
	"log"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

type pipelineExecutor struct {
	tracer    trace.Tracer
	clock     *clock
	asWritten bool
}

func (p *pipelineExecutor) executePipeline(ctx context.Context, id string, stages []stage) {
	ctx, span := p.tracer.Start(ctx, "pipeline-execution", p.clock.start(), trace.WithAttributes(
		attribute.String("pipeline.id", id),
		attribute.String("pipeline.trigger", "push"),
	))
	for _, stage := range stages {
		p.executeStage(ctx, stage)
	}
	span.SetStatus(codes.Ok, "Pipeline executed successfully")
	span.End(p.clock.end())
}

func (p *pipelineExecutor) executeStage(ctx context.Context, stage stage) {
	ctx, span := p.tracer.Start(ctx, stage.name+"-stage", p.clock.start(),
		trace.WithAttributes(attribute.String("stage.name", stage.name)))
	span.AddEvent("stage-started", p.clock.at())
	for _, operation := range stage.operations {
		_, span := p.tracer.Start(ctx, operation.name, p.clock.start(), trace.WithAttributes(
			attribute.String("operation", operation.name),
			attribute.Float64("duration", operation.seconds),
		))
		if p.asWritten && stage.name == "build" {
			span.End(p.clock.end())
			p.clock.sleep(operation.seconds)
			continue
		}
		p.clock.sleep(operation.seconds)
		span.End(p.clock.end())
	}
	span.AddEvent("stage-completed", p.clock.at())
	span.SetStatus(codes.Ok, "Stage completed successfully")
	span.End(p.clock.end())
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: clients EXPORTER [as-written]")
	}
	asWritten := len(os.Args) > 2 && os.Args[2] == "as-written"
	err := eachRun(os.Args[1], func(ctx context.Context, tracer trace.Tracer, one *run) error {
		executor := pipelineExecutor{tracer, &one.clock, asWritten}
		executor.executePipeline(ctx, "pipeline-"+one.number, one.stages)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
