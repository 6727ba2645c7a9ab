package metadata

import (
	"slices"
	"strconv"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type (
	alteredResource = kmsg.IncrementalAlterConfigsRequestResource
	alteredConfig   = kmsg.IncrementalAlterConfigsRequestResourceConfig
)

// minInSyncReplicas is the config that decides who is eligible as leader.
const minInSyncReplicas = "min.insync.replicas"

// IncrementalAlterConfigs decides an IncrementalAlterConfigs request (key 44).
// Resources are refused one by one, each whole; the records change the others.
func (c *Controller) IncrementalAlterConfigs(req *kmsg.IncrementalAlterConfigsRequest) (*kmsg.IncrementalAlterConfigsResponse, []Record) {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Version = req.Version
	count := map[Resource]int{}
	for i := range req.Resources {
		count[resourceOf(&req.Resources[i])]++
	}
	var records []Record
	for i := range req.Resources {
		asked := &req.Resources[i]
		answer := kmsg.IncrementalAlterConfigsResponseResource{ResourceType: asked.ResourceType, ResourceName: asked.ResourceName}
		refusal := resourceTwice
		var changed []Record
		if count[resourceOf(asked)] == 1 {
			changed, refusal = c.alterResource(asked)
		}
		if refusal != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(refusal.Code), refusal.text()
		}
		records = append(records, changed...)
		resp.Resources = append(resp.Resources, answer)
	}
	if !fitsBatch(records) {
		return refuseAlterations(resp), nil
	}
	if req.ValidateOnly {
		records = nil
	}
	return resp, records
}

func refuseAlterations(resp *kmsg.IncrementalAlterConfigsResponse) *kmsg.IncrementalAlterConfigsResponse {
	for i := range resp.Resources {
		if resp.Resources[i].ErrorCode == 0 {
			resp.Resources[i].ErrorCode, resp.Resources[i].ErrorMessage = int16(tooManyRecords.Code), tooManyRecords.text()
		}
	}
	return resp
}

func resourceOf(asked *alteredResource) Resource {
	return Resource{ResourceType(asked.ResourceType), asked.ResourceName}
}

// alterResource decides one resource. What is wrong is told in Kafka's order:
// the request's form, the values, the resource.
func (c *Controller) alterResource(asked *alteredResource) ([]Record, *Refusal) {
	res := resourceOf(asked)
	if r := CheckAlterations(asked.Configs); r != nil {
		return nil, r
	}
	if r := c.checkResource(res); r != nil {
		return nil, r
	}
	configs := slices.Clone(c.Image.Configs(res))
	var records []Record
	for i := range asked.Configs {
		changed, r := c.alterConfig(res, &asked.Configs[i], &configs)
		if r != nil {
			return nil, r
		}
		records = append(records, changed...)
	}
	if r := refused(c.Configs.Validate(res, configs)); r != nil {
		return nil, r
	}
	if res.Type == ResourceTopic && c.Image.TopicByName(res.Name) == nil {
		return nil, refuse(protocol.UNKNOWN_TOPIC_OR_PARTITION, "The topic '%s' does not exist.", res.Name)
	}
	return records, nil
}

// CheckAlterations refuses what no kind of resource can have: a value that is
// missing, a name that stands there twice.
func CheckAlterations(configs []alteredConfig) *Refusal {
	var null []string
	names := map[string]bool{}
	duplicate := false
	for i := range configs {
		e := &configs[i]
		if e.Op != kmsg.IncrementalAlterConfigOpDelete && e.Value == nil {
			null = append(null, e.Name)
		}
		duplicate = duplicate || names[e.Name]
		names[e.Name] = true
	}
	if duplicate {
		return refuse(protocol.INVALID_REQUEST, "Error due to duplicate config keys")
	}
	if len(null) > 0 {
		return refuse(protocol.INVALID_REQUEST, "Null value not supported for : %s", strings.Join(null, ", "))
	}
	return nil
}

// checkResource refuses what has no configs here.
func (c *Controller) checkResource(res Resource) *Refusal {
	switch res.Type {
	case ResourceTopic:
		if res.Name == "" {
			return refuse(protocol.INVALID_REQUEST, "Default topic resources are not allowed.")
		}
		return CheckTopicName(res.Name)
	case ResourceBroker:
		return c.checkBroker(res.Name)
	case ResourceGroup:
		if res.Name == "" {
			return refuse(protocol.INVALID_REQUEST, "Default group resources are not allowed.")
		}
	case ResourceClientMetrics:
		if res.Name == "" {
			return refuse(protocol.INVALID_REQUEST, "Subscription name can't be empty")
		}
	default: // loggers too: their levels are not kept
		return refuse(protocol.INVALID_REQUEST, "Unknown resource type %d", res.Type)
	}
	return nil
}

func (c *Controller) checkBroker(name string) *Refusal {
	if name == "" {
		return nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return refuse(protocol.INVALID_REQUEST, "Node id must be an integer, but it is: %s", name)
	}
	if int32(id) != c.NodeID {
		return refuse(protocol.INVALID_REQUEST, "Unexpected broker id, expected %d, but received %s", c.NodeID, name)
	}
	return nil
}

// alterConfig applies one alteration to the resource's configs and says which
// records make it last. Unchanged values need none, but a broker is always told:
// Kafka's operators use that to reload files that a config names.
func (c *Controller) alterConfig(res Resource, asked *alteredConfig, configs *[]ConfigEntry) ([]Record, *Refusal) {
	at, set := searchEntry(*configs, asked.Name)
	var old *string
	if set {
		v := (*configs)[at].Value
		old = &v
	}
	value, r := c.alteredValue(res, asked, old)
	if r != nil {
		return nil, r
	}
	switch {
	case value != nil && set:
		(*configs)[at].Value = *value
	case value != nil:
		*configs = slices.Insert(*configs, at, ConfigEntry{asked.Name, *value})
	case set:
		*configs = slices.Delete(*configs, at, at+1)
	}
	unchanged := value == nil && !set || value != nil && set && *old == *value
	if unchanged && res.Type != ResourceBroker {
		return nil, nil
	}
	records := []Record{newConfig(res, asked.Name, value)}
	if asked.Name != minInSyncReplicas || c.Image.Feature(featureELR) == 0 {
		return records, nil
	}
	return c.alterMinInSync(res, value, records)
}

// alterMinInSync: with another least number of in-sync replicas, who was eligible
// as leader no longer is known to be.
func (c *Controller) alterMinInSync(res Resource, value *string, records []Record) ([]Record, *Refusal) {
	switch {
	case res.Type == ResourceTopic:
		return append(records, &ClearElrRecord{TopicName: res.Name}), nil
	case res.Type != ResourceBroker:
		return records, nil
	case res.Name != "":
		return nil, refuse(protocol.INVALID_CONFIG, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
	case value == nil:
		return nil, refuse(protocol.INVALID_CONFIG, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
	}
	return append(records, &ClearElrRecord{}), nil
}

// alteredValue is a config's next value, nil if it is to be deleted.
func (c *Controller) alteredValue(res Resource, asked *alteredConfig, old *string) (*string, *Refusal) {
	switch asked.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		return asked.Value, nil
	case kmsg.IncrementalAlterConfigOpDelete:
		return nil, nil
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
	default:
		return nil, &Refusal{Code: protocol.UNKNOWN_SERVER_ERROR} // what Kafka makes of an unknown operation
	}
	inherited, isList := c.Configs.List(res, asked.Name)
	if !isList {
		op := "APPEND"
		if asked.Op == kmsg.IncrementalAlterConfigOpSubtract {
			op = "SUBTRACT"
		}
		if res.Type == ResourceBroker {
			return nil, refuse(protocol.INVALID_CONFIG, "Config value %s is not allowed for config key: %s", strings.ToLower(op), asked.Name)
		}
		return nil, refuse(protocol.INVALID_CONFIG, "Can't %s to key %s because its type is not LIST.", op, asked.Name)
	}
	if old != nil {
		inherited = *old
	}
	parts := listParts(inherited)
	for _, v := range strings.Split(*asked.Value, ",") {
		at := slices.Index(parts, v)
		switch {
		case asked.Op == kmsg.IncrementalAlterConfigOpAppend && at < 0:
			parts = append(parts, v)
		case asked.Op == kmsg.IncrementalAlterConfigOpSubtract && at >= 0:
			parts = slices.Delete(parts, at, at+1)
		}
	}
	joined := strings.Join(parts, ",")
	return &joined, nil
}

func listParts(value string) []string {
	return slices.DeleteFunc(strings.Split(value, ","), func(s string) bool { return s == "" })
}
