package metadata

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// MetadataVersionFeature is the feature whose level says what the metadata log may hold.
const MetadataVersionFeature = "metadata.version"

// kraftVersionFeature is never lowered.
const kraftVersionFeature = "kraft.version"

// UpgradeType says what an update of a feature may do (KIP-584, KIP-778).
type UpgradeType int8

// The upgrade types, with Kafka's numbers.
const (
	Upgrade         UpgradeType = 1
	SafeDowngrade   UpgradeType = 2
	UnsafeDowngrade UpgradeType = 3
)

// FeatureUpdate asks for a finalized level of a feature; level 0 takes it away.
type FeatureUpdate struct {
	Name  string
	Level int16
	Type  UpgradeType
}

// DecideFeatures sets finalized feature levels: all of them, or none and an error for the first that cannot be.
// supported is what this controller knows, nodeID who it is.
func DecideFeatures(im *Image, rules Rules, nodeID int32, supported []FeatureRange, updates []FeatureUpdate) ([]Record, error) {
	var records []Record
	for _, u := range updates {
		if problem := featureProblem(im, nodeID, supported, u); problem != "" {
			return nil, refuse(kerr.InvalidUpdateVersion, "The update failed for all features since the following feature had an error: %s", problem)
		}
		if im.Feature(u.Name) != u.Level {
			records = append(records, &FeatureLevelRecord{Name: u.Name, Level: u.Level})
			if u.Name == FeatureELR {
				records = append(records, pinMinISR(im, &rules, u.Level > 0)...)
			}
		}
	}
	return records, nil
}

// featureProblem says why a feature cannot have that level; "" when it can.
func featureProblem(im *Image, nodeID int32, supported []FeatureRange, u FeatureUpdate) string {
	invalid := func(format string, args ...any) string {
		return fmt.Sprintf("Invalid update version %d for feature %s. ", u.Level, u.Name) + fmt.Sprintf(format, args...)
	}
	if u.Type < Upgrade || u.Type > UnsafeDowngrade {
		return invalid("The controller does not support the given upgrade type.")
	}
	current := im.Feature(u.Name)
	i := slices.IndexFunc(supported, func(f FeatureRange) bool { return f.Name == u.Name })
	switch {
	case u.Level < 0:
		return invalid("A feature version cannot be less than 0.")
	case i < 0 && u.Level == 0:
		return invalid("Feature %s not found.", u.Name)
	case i < 0:
		return invalid("Local controller %d does not support this feature.", nodeID)
	case u.Level > supported[i].Max || (u.Level != 0 || u.Name == MetadataVersionFeature) && u.Level < supported[i].Min:
		return invalid("Local controller %d only supports versions %d-%d", nodeID, supported[i].Min, supported[i].Max)
	}
	for _, b := range im.Brokers() {
		// A broker that says nothing of a feature knows level 0 only; one that registered before it could say anything is this
		// node, in an older version, and registers again before it serves.
		k := slices.IndexFunc(b.Features, func(f FeatureRange) bool { return f.Name == u.Name })
		if u.Level > 0 && k >= 0 && u.Level > b.Features[k].Max {
			return invalid("Broker %d only supports versions %d-%d", b.ID, b.Features[k].Min, b.Features[k].Max)
		}
	}
	switch {
	case u.Level >= current:
		return ""
	case u.Type == Upgrade:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case u.Name == kraftVersionFeature:
		return invalid("Can't downgrade the version of this feature.")
	case u.Name == MetadataVersionFeature && u.Type == SafeDowngrade:
		return fmt.Sprintf("Unsupported metadata.version downgrade from %d to %d. Refusing to perform the requested downgrade because it might delete metadata information.", current, u.Level)
	case u.Name == MetadataVersionFeature:
		return fmt.Sprintf("Unsupported metadata.version downgrade from %d to %d. Unsafe metadata downgrade is not supported in this version.", current, u.Level)
	}
	return ""
}
