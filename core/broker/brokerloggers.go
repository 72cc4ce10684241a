package broker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/loglevel"
	"github.com/moldau-io/moldau/core/metadata"
)

// The loggers of a broker are a config resource whose values are levels (KIP-412). They are not kept: after a restart the level is that of the settings
// again. Kafka has one for each of its Java classes; here the broker and the controller beside it log as "root".

// rootLogger is the name of the only logger.
const rootLogger = "root"

// loggerLevels are the levels that a logger can be set to, as Kafka lists them.
var loggerLevels = []string{"DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"}

// loggerEntries describes those loggers of keys that there are; all when keys is empty.
func (b *Broker) loggerEntries(keys []string) []config.Entry {
	if len(keys) > 0 && !slices.Contains(keys, rootLogger) {
		return nil
	}
	level := b.level.Name()
	return []config.Entry{{Name: rootLogger, Value: &level, Source: config.SourceLogger}}
}

// alterLoggers sets levels, all of them or none.
func (b *Broker) alterLoggers(a metadata.AlterConfig, validateOnly bool) error {
	if err := metadata.CheckOps(a.Ops); err != nil {
		return err
	}
	if err := b.checkNode(a.Resource.Name, "Unexpected node id. Expected"); err != nil {
		return err
	}
	for _, op := range a.Ops {
		if err := checkLoggerOp(op); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	for _, op := range a.Ops {
		level, _ := loglevel.Parse(*op.Value)
		b.log.Info("the level of the log changes", "level", *op.Value) // before: the log may be silent after
		b.level.Set(level)
	}
	return nil
}

func checkLoggerOp(op metadata.ConfigOp) error {
	refused := func(e *kerr.Error, format string, args ...any) error {
		return &metadata.Error{Code: e.Code, Message: fmt.Sprintf(format, args...)}
	}
	switch op.Op {
	case metadata.OpSet, metadata.OpDelete:
	case metadata.OpAppend, metadata.OpSubtract:
		return refused(kerr.InvalidRequest, "%s operation is not allowed for the BROKER_LOGGER resource", op.Op)
	default:
		return &metadata.Error{Code: kerr.UnknownServerError.Code} // as Kafka, which does not expect it
	}
	switch {
	case op.Key != rootLogger:
		return refused(kerr.InvalidConfig, "Logger %s does not exist!", op.Key)
	case op.Op == metadata.OpDelete:
		return refused(kerr.InvalidRequest, "Removing the log level of the root logger is not allowed")
	case !slices.Contains(loggerLevels, *op.Value):
		return refused(kerr.InvalidConfig, "Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s",
			op.Key, *op.Value, strings.Join(loggerLevels, ", "))
	}
	return nil
}
