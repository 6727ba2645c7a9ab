package broker

import (
	"log/slog"
	"strconv"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The broker's log is one logger to clients, root, whose level they can change
// while it runs. As in Kafka, that is not kept: the next start has its own.

const rootLogger = "root"

// logLevels are Kafka's names of levels, the loudest last, and ours. FATAL and
// TRACE lie beyond all that is written.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"FATAL", slog.LevelError + 4}, {"ERROR", slog.LevelError}, {"WARN", slog.LevelWarn},
	{"INFO", slog.LevelInfo}, {"DEBUG", slog.LevelDebug}, {"TRACE", slog.LevelDebug - 4},
}

func (s *Shard) describeLogger(q ConfigQuery) (out []kmsg.DescribeConfigsResponseResourceConfig) {
	levels := s.broker.settings.LogLevel
	if levels == nil || !q.wants(rootLogger) {
		return nil
	}
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Source, c.Documentation = rootLogger, kmsg.ConfigSource(config.DynamicLogger), kmsg.StringPtr("")
	name := "TRACE"
	for _, l := range logLevels {
		if levels.Level() >= l.level {
			name = l.name
			break
		}
	}
	c.Value = &name
	return append(out, c)
}

// alterLogger decides on, and unless it is only to be validated does, what an
// IncrementalAlterConfigs asks of the broker's loggers.
func (s *Shard) alterLogger(asked *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) *metadata.Refusal {
	id, err := strconv.ParseInt(asked.ResourceName, 10, 32)
	switch {
	case err != nil:
		return refusal(protocol.INVALID_REQUEST, "Node id must be an integer, but it is: "+asked.ResourceName)
	case int32(id) != s.broker.nodeID:
		return refusal(protocol.INVALID_REQUEST, "Unexpected node id. Expected "+itoa(int(s.broker.nodeID))+", but received "+asked.ResourceName)
	}
	if r := metadata.CheckAlterations(asked.Configs); r != nil {
		return r
	}
	var level slog.Level
	for i := range asked.Configs {
		var r *metadata.Refusal
		if level, r = s.alteredLevel(&asked.Configs[i]); r != nil {
			return r
		}
	}
	if len(asked.Configs) > 0 && !validateOnly {
		s.broker.settings.LogLevel.Set(level)
	}
	return nil
}

func (s *Shard) alteredLevel(c *kmsg.IncrementalAlterConfigsRequestResourceConfig) (slog.Level, *metadata.Refusal) {
	switch {
	case c.Op == kmsg.IncrementalAlterConfigOpAppend:
		return 0, refusal(protocol.INVALID_REQUEST, "APPEND operation is not allowed for the BROKER_LOGGER resource")
	case c.Op == kmsg.IncrementalAlterConfigOpSubtract:
		return 0, refusal(protocol.INVALID_REQUEST, "SUBTRACT operation is not allowed for the BROKER_LOGGER resource")
	case c.Op != kmsg.IncrementalAlterConfigOpSet && c.Op != kmsg.IncrementalAlterConfigOpDelete:
		return 0, refusal(protocol.UNKNOWN_SERVER_ERROR, "")
	case c.Name != rootLogger || s.broker.settings.LogLevel == nil:
		return 0, refusal(protocol.INVALID_CONFIG, "Logger "+c.Name+" does not exist!")
	case c.Op == kmsg.IncrementalAlterConfigOpDelete:
		return 0, refusal(protocol.INVALID_REQUEST, "Removing the log level of the root logger is not allowed")
	}
	for _, l := range logLevels {
		if *c.Value == l.name {
			return l.level, nil
		}
	}
	return 0, refusal(protocol.INVALID_CONFIG, "Cannot set the log level of "+c.Name+" to "+*c.Value+
		" as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN")
}

func refusal(code protocol.ErrorCode, message string) *metadata.Refusal {
	return &metadata.Refusal{Code: code, Message: message}
}
