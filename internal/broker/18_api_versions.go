package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions (18), versions 0-4.
//
// An unsupported version is answered in v0's format with UNSUPPORTED_VERSION and
// the one row a client needs to try again, ApiVersions' own, as Apache Kafka
// does. The response header is never flexible.
// Departures from Kafka: none known.

func (s *Shard) serveAPIVersions(c *call) {
	req := c.body.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	if req.Version >= 3 && (!validClientWord(req.ClientSoftwareName) || !validClientWord(req.ClientSoftwareVersion)) {
		resp.ErrorCode = int16(protocol.INVALID_REQUEST)
		c.reply(resp)
		return
	}
	s.noteSoftware(c, req)
	for i := range apis {
		if apis[i].unlisted {
			continue
		}
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{
			ApiKey: apis[i].key, MinVersion: apis[i].advertisedMin, MaxVersion: apis[i].max,
		})
	}
	if req.Version >= 3 {
		resp.Version = req.Version
		s.describeFeatures(resp)
	}
	c.reply(resp)
}

// noteSoftware keeps what the client says of itself, for subscriptions to its metrics.
func (s *Shard) noteSoftware(c *call, req *kmsg.ApiVersionsRequest) {
	if req.Version < 3 {
		return
	}
	state := stateOf(c.req.Conn)
	state.software = cloneString(req.ClientSoftwareName[:min(len(req.ClientSoftwareName), maxClientSoftware)])
	state.softwareVersion = cloneString(req.ClientSoftwareVersion[:min(len(req.ClientSoftwareVersion), maxClientSoftware)])
}

func (s *Shard) answerUnsupportedAPIVersions(r *reactor.Request, h protocol.Header) reactor.Disposition {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = int16(protocol.UNSUPPORTED_VERSION)
	row := apiByKey[protocol.KeyAPIVersions]
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: row.key, MinVersion: row.min, MaxVersion: row.max}}
	req := kmsg.NewPtrApiVersionsRequest()
	c := &call{shard: s, req: r, header: h, body: req} // version 0
	c.reply(resp)
	return reactor.Hold
}

// validClientWord is Kafka's pattern for client software names and versions:
// [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
func validClientWord(w string) bool {
	alnum := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	if w == "" || !alnum(w[0]) || !alnum(w[len(w)-1]) {
		return false
	}
	for i := 0; i < len(w); i++ {
		if !alnum(w[i]) && w[i] != '-' && w[i] != '.' {
			return false
		}
	}
	return true
}

// describeFeatures adds the features that this node supports and those that the
// cluster has finalized.
func (s *Shard) describeFeatures(resp *kmsg.ApiVersionsResponse) {
	for _, f := range metadata.SupportedFeatures() {
		if f.MinSupportedVersion == 0 && resp.Version < 4 {
			continue // versions below 4 cannot say a minimum of 0 (KAFKA-17011)
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{
			Name: f.Name, MinVersion: f.MinSupportedVersion, MaxVersion: f.MaxSupportedVersion,
		})
	}
	for _, f := range s.image.Features() {
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{
			Name: f.Name, MinVersionLevel: f.Level, MaxVersionLevel: f.Level,
		})
	}
	if level := s.image.KRaftVersion(); level > 0 {
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{
			Name: metadata.KRaftVersionFeature, MinVersionLevel: level, MaxVersionLevel: level,
		})
	}
	resp.FinalizedFeaturesEpoch = s.metadataOffset
}
