package metadata

import (
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

// CreateTopics decides a CreateTopics request (key 19). Topics are refused one
// by one; the records create those that were not.
func (c *Controller) CreateTopics(req *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, []Record) {
	return nil, nil
}

// DeleteTopics decides a DeleteTopics request (key 20), by name or by id.
func (c *Controller) DeleteTopics(req *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, []Record) {
	return nil, nil
}

// CreatePartitions decides a CreatePartitions request (key 37).
func (c *Controller) CreatePartitions(req *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, []Record) {
	return nil, nil
}

// IncrementalAlterConfigs decides an IncrementalAlterConfigs request (key 44).
func (c *Controller) IncrementalAlterConfigs(req *kmsg.IncrementalAlterConfigsRequest) (*kmsg.IncrementalAlterConfigsResponse, []Record) {
	return nil, nil
}

// AllocateProducerIDs hands this node the next block of producer ids: first to
// first+count-1, its own once the records are committed.
func (c *Controller) AllocateProducerIDs() (first int64, count int32, records []Record) {
	return 0, 0, nil
}
