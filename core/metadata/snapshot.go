package metadata

import (
	"maps"
	"slices"
)

// Records returns records that rebuild the image from the empty one, in a fixed order: equal images
// give equal records. Offset and Epoch are not among them; whoever stores a snapshot stores its
// position beside it.
func (im *Image) Records() []Record {
	var rs []Record
	if im.ClusterID != "" {
		rs = append(rs, &ClusterIDRecord{ClusterID: im.ClusterID})
	}
	for _, name := range slices.Sorted(maps.Keys(im.features)) {
		rs = append(rs, &FeatureLevelRecord{Name: name, Level: im.features[name]})
	}
	for _, b := range im.Brokers() {
		rs = append(rs, &RegisterBrokerRecord{
			BrokerID: b.ID, IncarnationID: b.IncarnationID, Epoch: b.Epoch, Listeners: b.Listeners, Features: b.Features,
			Rack: b.Rack, Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown, LogDirs: b.LogDirs,
		})
	}
	for _, t := range im.Topics() {
		rs = append(rs, &TopicRecord{Name: t.Name, ID: t.ID})
		for _, p := range t.Partitions {
			p.Offline = nil // has records of its own
			rs = append(rs, &PartitionRecord{TopicID: t.ID, Partition: p})
		}
		rs = append(rs, offlineRecords(t)...)
	}
	for _, r := range im.ConfigResources() {
		c := im.configs[r]
		for _, k := range slices.Sorted(maps.Keys(c)) {
			v := c[k]
			rs = append(rs, &ConfigRecord{Resource: r, Key: k, Value: &v})
		}
	}
	if im.NextProducerID != 0 {
		rs = append(rs, &ProducerIDsRecord{BrokerID: -1, Epoch: -1, Next: im.NextProducerID})
	}
	return append(rs, im.securityRecords()...)
}
