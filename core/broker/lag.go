package broker

import (
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moldau-io/moldau/core/group"
)

// maxLagPartitions bounds the partitions of all groups that have series of their own. The sums by topic go on
// past it; how many partitions are left out is a metric as well.
const maxLagPartitions = 20_000

// lagCollector gives how far groups are behind, under the names of kafka_exporter. The broker knows both ends,
// the committed offset and the high watermark, so nobody has to ask for them from outside.
type lagCollector struct {
	b     *Broker
	limit int
}

func newLagCollector(b *Broker) *lagCollector { return &lagCollector{b: b, limit: maxLagPartitions} }

var (
	lagDesc          = prometheus.NewDesc("kafka_consumergroup_lag", "Records between the committed offset of the group and the end of the partition.", []string{"consumergroup", "topic", "partition"}, nil)
	lagSumDesc       = prometheus.NewDesc("kafka_consumergroup_lag_sum", "Records that the group is behind in the topic.", []string{"consumergroup", "topic"}, nil)
	lagOffsetDesc    = prometheus.NewDesc("kafka_consumergroup_current_offset", "The committed offset of the group.", []string{"consumergroup", "topic", "partition"}, nil)
	lagOffsetSumDesc = prometheus.NewDesc("kafka_consumergroup_current_offset_sum", "The committed offsets of the group, summed over the topic.", []string{"consumergroup", "topic"}, nil)
	lagMembersDesc   = prometheus.NewDesc("kafka_consumergroup_members", "Members of the group.", []string{"consumergroup"}, nil)
	lagLeftOutDesc   = prometheus.NewDesc("moldau_consumergroup_partitions_without_series", "Partitions of groups that have no series of their own because there are too many, or their group's name is no text.", nil, nil)
	lagDescriptions  = []*prometheus.Desc{lagDesc, lagSumDesc, lagOffsetDesc, lagOffsetSumDesc, lagMembersDesc, lagLeftOutDesc}
	_                = prometheus.Collector(&lagCollector{})
)

// Describe implements prometheus.Collector.
func (l *lagCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range lagDescriptions {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *lagCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	series, leftOut := 0, 0
	l.b.groups.Offsets(func(g group.GroupOffsets) {
		if !utf8.ValidString(g.Group) { // which no label can be, and no client of Kafka's sends
			leftOut += len(g.Offsets)
			return
		}
		gauge(lagMembersDesc, int64(g.Members), g.Group)
		for i := 0; i < len(g.Offsets); {
			topic := g.Offsets[i].Topic
			var lagSum, offsetSum int64
			for ; i < len(g.Offsets) && g.Offsets[i].Topic == topic; i++ {
				o := g.Offsets[i]
				p := l.b.localPartition(topic, o.Partition)
				if p == nil {
					continue // gone, or led by another broker, which alone knows the end
				}
				lag := max(p.HighWatermark()-o.Offset, 0)
				lagSum += lag
				offsetSum += o.Offset
				if series >= l.limit {
					leftOut++
					continue
				}
				series++
				partition := strconv.Itoa(int(o.Partition))
				gauge(lagDesc, lag, g.Group, topic, partition)
				gauge(lagOffsetDesc, o.Offset, g.Group, topic, partition)
			}
			gauge(lagSumDesc, lagSum, g.Group, topic)
			gauge(lagOffsetSumDesc, offsetSum, g.Group, topic)
		}
	})
	gauge(lagLeftOutDesc, int64(leftOut))
}
