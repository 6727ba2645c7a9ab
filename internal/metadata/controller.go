package metadata

import (
	"errors"
	"fmt"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Controller decides what becomes of a request that would change the cluster's
// state. It is pure: it reads its image, and answers with a response and the
// records that would make the response true. It changes nothing itself.
//
// Core 0 drives it, one decision at a time:
//
//	resp, records := controller.CreateTopics(req)   // decide
//	if len(records) == 0 { answer resp; done }      // refused, validate-only, or nothing to do
//	batch := AppendBatch(...)                       // one batch, so that it is there whole or not at all
//	append to __cluster_metadata-0, fsync           // from here on it is committed
//	image.ApplyAll(records)                         // on core 0's image and on every other core's own
//	answer resp                                     // when every core has applied it
//
// If the append fails, resp is thrown away, the image has not moved, and the
// client is answered with KAFKA_STORAGE_ERROR. The next decision must wait until
// the records of this one are applied: decisions are taken on the image alone.
// Several requests can still share one fsync: decide and apply the first, decide
// the next on that, append all their batches at once; but then a failed append
// leaves an image that must be rebuilt from the log before the next decision.
//
// Records are shared by all images and must not be changed (see Record).
type Controller struct {
	Image   *Image          // the committed state; replaced or moved on by its owner only
	NodeID  int32           // node.id of this node, the only broker
	Configs ConfigValidator // what configs exist and which values are good

	// RandomID returns 16 random bytes. The controller draws again where Kafka
	// does (ids that are reserved or taken).
	RandomID func() UUID

	// Admit, if not nil, is asked before a topic's partitions, so many, are created or
	// deleted. It counts those that it lets pass (controller_mutation_rate).
	Admit func(partitions int) *Refusal

	Bootstrap []Record // what bootstrap.checkpoint has for an empty log; nil: BootstrapFeatures
	// Directories are the log directories of this node that are in service, in the order of log.dirs.
	Directories []Directory

	NumPartitions     int32 // num.partitions: for requests that ask for -1
	ReplicationFactor int16 // default.replication.factor: likewise
	MaxPartitions     int32 // the most partitions that the cluster may have in total; 0: DefaultMaxPartitions
}

// ConfigValidator knows the configs: their names, types, defaults and limits.
type ConfigValidator interface {
	// Validate checks the complete set of dynamic configs that res would have,
	// by name. Its error's text is what Kafka would say, without a prefix; the
	// code is INVALID_CONFIG unless the error is a *Refusal.
	Validate(res Resource, configs []ConfigEntry) error

	// List says whether a config of res holds a list, and the value in force
	// where res itself does not set it: APPEND and SUBTRACT start from that.
	List(res Resource, name string) (inherited string, isList bool)

	// Describe lists every config of a topic with those overrides, as
	// CreateTopics v5+ answers it.
	Describe(overrides []ConfigEntry) []kmsg.CreateTopicsResponseTopicConfig
}

// Refusal is an error with Kafka's code and text.
type Refusal struct {
	Code    protocol.ErrorCode
	Message string // empty: clients use their own text for the code
}

func (r *Refusal) Error() string {
	if r.Message == "" {
		return r.Code.String()
	}
	return r.Code.String() + ": " + r.Message
}

// DefaultMaxPartitions is the most partitions that a controller without a limit
// of its own lets a cluster have.
const DefaultMaxPartitions = 200_000

// refused makes an error into a refusal: Kafka's code for what a validator says
// without one is INVALID_CONFIG.
func refused(err error) *Refusal {
	if err == nil {
		return nil
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{protocol.INVALID_CONFIG, err.Error()}
}

// text is the message as a response has it: null rather than empty.
func (r *Refusal) text() *string {
	if r.Message == "" {
		return nil
	}
	return &r.Message
}

func refuse(code protocol.ErrorCode, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// Refusals that occur in several places, with the texts of Kafka's Errors.
var (
	unknownTopic   = &Refusal{protocol.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition."}
	unknownTopicID = &Refusal{protocol.UNKNOWN_TOPIC_ID, "This server does not host this topic ID."}
	tooManyRecords = &Refusal{protocol.POLICY_VIOLATION, "Unable to perform excessively large batch operation."}
	tooManyAsked   = &Refusal{protocol.POLICY_VIOLATION, "Excessively large number of partitions per request."}
	duplicateTopic = &Refusal{protocol.INVALID_REQUEST, "Duplicate topic name."}
)

// admit asks whether so many partitions may be created or deleted.
func (c *Controller) admit(partitions int) *Refusal {
	if c.Admit == nil {
		return nil
	}
	return c.Admit(partitions)
}

// newID draws a random id that is not reserved, as Kafka does: ids whose text
// begins with '-' are passed over too, because they look like a program's option.
func (c *Controller) newID() UUID {
	for {
		id := c.RandomID()
		// Kafka's ids are version 4 UUIDs.
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if !reservedID(id) && id[0]>>2 != 62 {
			return id
		}
	}
}

// roomFor refuses more partitions than the cluster is to have.
func (c *Controller) roomFor(more, decided int) *Refusal {
	limit := int(c.MaxPartitions)
	if limit == 0 {
		limit = DefaultMaxPartitions
	}
	if have := c.Image.PartitionCount() + decided; more > limit-have {
		return refuse(protocol.INVALID_PARTITIONS, "The cluster is limited to %d partitions: it has %d and %d more were asked for.", limit, have, more)
	}
	return nil
}
