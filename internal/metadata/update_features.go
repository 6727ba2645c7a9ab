package metadata

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of updates of a feature, as requests number them.
const (
	featureUpgrade         = 1
	featureSafeDowngrade   = 2
	featureUnsafeDowngrade = 3
)

// UpdateFeatures decides an UpdateFeatures request (key 57): all of its updates or
// none. A level that a feature has already is as good as reached.
func (c *Controller) UpdateFeatures(req *kmsg.UpdateFeaturesRequest) (*kmsg.UpdateFeaturesResponse, []Record) {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.Version = req.Version
	var records []Record
	seen := map[string]bool{}
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if seen[u.Feature] {
			continue
		}
		seen[u.Feature] = true
		changed, refusal := c.updateFeature(req.Version, u)
		if refusal != nil {
			resp.ErrorCode = int16(protocol.INVALID_UPDATE_VERSION)
			text := "The update failed for all features since the following feature had an error: " + refusal.Message
			resp.ErrorMessage, resp.Results = &text, nil
			return resp, nil
		}
		records = append(records, changed...)
		if req.Version < 2 {
			none := "NONE"
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature, ErrorMessage: &none})
		}
	}
	if req.ValidateOnly {
		records = nil
	}
	return resp, records
}

func (c *Controller) updateFeature(version int16, u *kmsg.UpdateFeaturesRequestFeatureUpdate) ([]Record, *Refusal) {
	wrong := func(format string, args ...any) ([]Record, *Refusal) {
		r := refuse(protocol.INVALID_UPDATE_VERSION, format, args...)
		r.Message = refuse(r.Code, "Invalid update version %d for feature %s. ", u.MaxVersionLevel, u.Feature).Message + r.Message
		return nil, r
	}
	supported := SupportedFeatures()
	at := slices.IndexFunc(supported, func(f FeatureRange) bool { return f.Name == u.Feature })
	if at < 0 {
		return wrong("Local controller %d does not support this feature.", c.NodeID)
	}
	current := c.Image.Feature(u.Feature)
	if u.Feature == KRaftVersionFeature {
		current = c.Image.KRaftVersion()
	}
	f, to, kind := supported[at], u.MaxVersionLevel, u.UpgradeType
	if version == 0 {
		kind = featureUpgrade // AllowDowngrade counts for nothing in Kafka either
	}
	switch {
	case kind < featureUpgrade || kind > featureUnsafeDowngrade:
		return wrong("The controller does not support the given upgrade type.")
	case to < 0:
		return wrong("A feature version cannot be less than 0.")
	case to < f.MinSupportedVersion || to > f.MaxSupportedVersion:
		return wrong("Local controller %d only supports versions %d-%d", c.NodeID, f.MinSupportedVersion, f.MaxSupportedVersion)
	case to == current:
		return nil, nil
	case u.Feature == KRaftVersionFeature && to < current:
		return wrong("Can't downgrade the version of this feature.")
	case u.Feature == KRaftVersionFeature:
		return wrong("The voters of this log are not in it.")
	case to < current && kind == featureUpgrade:
		return wrong("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case to > current && kind != featureUpgrade:
		return wrong("Can't downgrade to a newer version.")
	case u.Feature == MetadataVersion && to < current:
		why := "Refusing to perform the requested downgrade because it might delete metadata information."
		if kind == featureUnsafeDowngrade {
			why = "Unsafe metadata downgrade is not supported in this version."
		}
		return nil, refuse(protocol.INVALID_UPDATE_VERSION, "Unsupported metadata.version downgrade from %d to %d. %s", current, to, why)
	}
	records := []Record{&FeatureLevelRecord{Name: u.Feature, FeatureLevel: to}}
	if u.Feature == featureELR && to > 0 {
		// From now on the least number in sync is the cluster's.
		if _, set := c.Image.Config(Resource{ResourceBroker, ""}, minInSyncReplicas); !set {
			one := "1"
			records = append(records, newConfig(Resource{ResourceBroker, ""}, minInSyncReplicas, &one))
		}
	}
	return records, nil
}
