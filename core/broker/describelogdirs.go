package broker

import (
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/security/acl"
)

// describeLogDirs answers with every log directory of the configuration: the partitions in it, those that are being copied to it, and the
// room on its volume. One that is offline has an error instead.
func (b *Broker) describeLogDirs(c call, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	if !c.allowedCluster(acl.Describe) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp
	}
	wanted := func(string, int32) bool { return true }
	if req.Topics != nil {
		want := map[string][]int32{}
		for _, t := range req.Topics {
			want[t.Topic] = append(want[t.Topic], t.Partitions...)
		}
		wanted = func(topic string, i int32) bool { return slices.Contains(want[topic], i) }
	}
	futures := b.dir.FutureLogs()
	for _, d := range b.dir.List() {
		resp.Dirs = append(resp.Dirs, b.describeLogDir(d, futures, wanted))
	}
	return resp
}

func (b *Broker) describeLogDir(d *log.Dir, futures []log.FutureLog, wanted func(string, int32) bool) kmsg.DescribeLogDirsResponseDir {
	out := kmsg.NewDescribeLogDirsResponseDir()
	out.Dir = absolutePath(d.Path())
	out.TotalBytes, out.UsableBytes = -1, -1
	if d.Err() != nil {
		out.ErrorCode = kerr.KafkaStorageError.Code
		return out
	}
	out.TotalBytes, out.UsableBytes = diskSpace(d.Path())
	out.IsCordoned = b.dir.Cordoned(d)
	add := func(topic string, p kmsg.DescribeLogDirsResponseDirTopicPartition) {
		i := slices.IndexFunc(out.Topics, func(t kmsg.DescribeLogDirsResponseDirTopic) bool { return t.Topic == topic })
		if n := len(out.Topics); n > 0 && out.Topics[n-1].Topic == topic {
			i = n - 1
		}
		if i < 0 {
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic = topic
			i, out.Topics = len(out.Topics), append(out.Topics, t)
		}
		out.Topics[i].Partitions = append(out.Topics[i].Partitions, p)
	}
	last := ""
	for _, l := range d.Logs() { // by topic
		if !wanted(l.Topic(), l.Partition()) {
			continue
		}
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		p.Partition, p.Size = l.Partition(), l.Size()
		if l.Topic() != last {
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic, last = l.Topic(), l.Topic()
			out.Topics = append(out.Topics, t)
		}
		t := &out.Topics[len(out.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	for _, f := range futures {
		if f.Dir == d && wanted(f.Topic, f.Partition) {
			p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			p.Partition, p.Size, p.OffsetLag, p.IsFuture = f.Partition, f.Size, f.Lag, true
			add(f.Topic, p)
		}
	}
	return out
}

func absolutePath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
