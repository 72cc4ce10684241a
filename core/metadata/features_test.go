package metadata

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// The texts are what Apache Kafka 4.3.1 answered to the same updates.
func TestFeaturesAreUpdatedByKafkasRules(t *testing.T) {
	im, _, err := Empty().Apply(Position{1, 1}, []Record{
		&FeatureLevelRecord{Name: "metadata.version", Level: 30}, &FeatureLevelRecord{Name: "transaction.version", Level: 2}, &FeatureLevelRecord{Name: "kraft.version", Level: 1}})
	require.NoError(t, err)
	supported := []FeatureRange{{"metadata.version", 7, 30}, {"transaction.version", 0, 2}, {"kraft.version", 0, 1}, {"group.version", 0, 1}}
	for _, c := range []struct {
		name  string
		level int16
		kind  UpgradeType
		want  string // "" for done
	}{
		{"nosuch", 1, 1, "Invalid update version 1 for feature nosuch. Local controller 1 does not support this feature."},
		{"transaction.version", 1, 1, "Invalid update version 1 for feature transaction.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."},
		{"transaction.version", 1, 2, ""},
		{"transaction.version", 1, 3, ""},
		{"transaction.version", 0, 2, ""},
		{"transaction.version", 2, 1, ""},
		{"transaction.version", 3, 1, "Invalid update version 3 for feature transaction.version. Local controller 1 only supports versions 0-2"},
		{"transaction.version", -1, 1, "Invalid update version -1 for feature transaction.version. A feature version cannot be less than 0."},
		{"transaction.version", 1, 0, "Invalid update version 1 for feature transaction.version. The controller does not support the given upgrade type."},
		{"transaction.version", 1, 9, "Invalid update version 1 for feature transaction.version. The controller does not support the given upgrade type."},
		{"metadata.version", 7, 2, "Unsupported metadata.version downgrade from 30 to 7. Refusing to perform the requested downgrade because it might delete metadata information."},
		{"metadata.version", 20, 3, "Unsupported metadata.version downgrade from 30 to 20. Unsafe metadata downgrade is not supported in this version."},
		{"metadata.version", 40, 1, "Invalid update version 40 for feature metadata.version. Local controller 1 only supports versions 7-30"},
		{"kraft.version", 0, 2, "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature."},
		{"group.version", 1, 1, ""},
		{"", 0, 2, "Invalid update version 0 for feature . Feature  not found."},
	} {
		records, err := DecideFeatures(im, rules(), 1, supported, []FeatureUpdate{{c.name, c.level, c.kind}})
		if c.want == "" {
			require.NoError(t, err, "%+v", c)
			next, _, err := im.Apply(Position{2, 1}, records)
			require.NoError(t, err)
			require.Equal(t, c.level, next.Feature(c.name), "%+v", c)
			continue
		}
		require.ErrorIs(t, err, kerr.InvalidUpdateVersion)
		require.ErrorContains(t, err, "The update failed for all features since the following feature had an error: "+c.want)
		require.Empty(t, records)
	}
	_, err = DecideFeatures(im, rules(), 1, supported, []FeatureUpdate{{"group.version", 1, Upgrade}, {"nosuch", 1, Upgrade}})
	require.ErrorContains(t, err, "nosuch", "one bad update refuses all")
}
