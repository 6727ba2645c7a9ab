package metadata

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs decides an AlterConfigs request (key 33): the configs of a resource
// become those of the request, and what the request does not name is deleted.
// Resources are refused one by one, each whole; the records change the others.
func (c *Controller) AlterConfigs(req *kmsg.AlterConfigsRequest) (*kmsg.AlterConfigsResponse, []Record) {
	resp := kmsg.NewPtrAlterConfigsResponse()
	resp.Version = req.Version
	count := map[Resource]int{}
	for i := range req.Resources {
		count[Resource{ResourceType(req.Resources[i].ResourceType), req.Resources[i].ResourceName}]++
	}
	var records []Record
	for i := range req.Resources {
		asked := &req.Resources[i]
		res := Resource{ResourceType(asked.ResourceType), asked.ResourceName}
		answer := kmsg.AlterConfigsResponseResource{ResourceType: asked.ResourceType, ResourceName: asked.ResourceName}
		refusal := resourceTwice
		var changed []Record
		if count[res] == 1 {
			changed, refusal = c.setResource(res, asked)
		}
		if refusal != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(refusal.Code), refusal.text()
		}
		records = append(records, changed...)
		resp.Resources = append(resp.Resources, answer)
	}
	if !fitsBatch(records) {
		for i := range resp.Resources {
			if a := &resp.Resources[i]; a.ErrorCode == 0 {
				a.ErrorCode, a.ErrorMessage = int16(tooManyRecords.Code), tooManyRecords.text()
			}
		}
		return resp, nil
	}
	if req.ValidateOnly {
		records = nil
	}
	return resp, records
}

// setResource is alterResource for the whole of a resource's configs.
func (c *Controller) setResource(res Resource, asked *kmsg.AlterConfigsRequestResource) ([]Record, *Refusal) {
	alterations := make([]alteredConfig, 0, len(asked.Configs))
	stays := make(map[string]bool, len(asked.Configs))
	for _, e := range asked.Configs {
		stays[e.Name] = true
		alterations = append(alterations, alteredConfig{Name: e.Name, Value: e.Value, Op: kmsg.IncrementalAlterConfigOpSet})
	}
	for _, e := range c.Image.Configs(res) {
		if !stays[e.Name] {
			alterations = append(alterations, alteredConfig{Name: e.Name, Op: kmsg.IncrementalAlterConfigOpDelete})
		}
	}
	return c.alterResource(&alteredResource{ResourceType: asked.ResourceType, ResourceName: asked.ResourceName, Configs: alterations})
}

// resourceTwice: which of the two should win is not for the controller to guess.
var resourceTwice = &Refusal{protocol.INVALID_REQUEST, "Each resource must appear at most once."}
