package broker

import (
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// alterReplicaLogDirs moves partitions between the log directories of this broker (KIP-113). The copy runs in the background;
// DescribeLogDirs tells how far it is. For a partition that is not there yet the directory is remembered, and the answer is
// REPLICA_NOT_AVAILABLE, as Kafka's.
func (b *Broker) alterReplicaLogDirs(c call, req *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	allowed := c.allowedCluster(acl.Alter)
	at := map[string]int{}
	for i := range req.Dirs {
		dir := &req.Dirs[i]
		for j := range dir.Topics {
			t := &dir.Topics[j]
			k, ok := at[t.Topic]
			if !ok {
				k = len(resp.Topics)
				at[t.Topic] = k
				rt := kmsg.NewAlterReplicaLogDirsResponseTopic()
				rt.Topic = t.Topic
				resp.Topics = append(resp.Topics, rt)
			}
			for _, index := range t.Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition = index
				if allowed {
					p.ErrorCode = b.alterReplicaLogDir(dir.Dir, t.Topic, index)
				} else {
					p.ErrorCode = kerr.ClusterAuthorizationFailed.Code
				}
				resp.Topics[k].Partitions = append(resp.Topics[k].Partitions, p)
			}
		}
	}
	return resp
}

func (b *Broker) alterReplicaLogDir(path, topic string, index int32) int16 {
	if metadata.ValidateTopicName(topic) != nil {
		return kerr.InvalidTopicException.Code
	}
	d, ok := b.dir.Find(path)
	if !ok || !filepath.IsAbs(path) {
		return kerr.LogDirNotFound.Code
	}
	if d.Err() != nil {
		return kerr.KafkaStorageError.Code
	}
	p := b.localPartition(topic, index)
	if p == nil {
		if index >= 0 {
			b.dir.Prefer(topic, index, d)
		}
		return kerr.ReplicaNotAvailable.Code
	}
	return codeOf(b.dir.Move(topic, index, d, p))
}

// openDirs opens the log directories.
func (b *Broker) openDirs(opts log.Options) (*log.Dirs, error) {
	paths := b.cfg.Core.LogDirs
	if b.cfg.LogDir != "" {
		paths = []string{b.cfg.LogDir}
	}
	ds, err := log.OpenDirs(paths, opts)
	if err != nil {
		return nil, err
	}
	for _, d := range ds.List() {
		if err := d.Err(); err != nil {
			b.log.Error("log directory is offline, its partitions are not served", "dir", d.Path(), "error", err)
		}
	}
	ds.Cordon(b.cfg.Core.CordonedLogDirs)
	ds.SetMoveRate(b.cfg.Core.MoveBytesPerSecond)
	ds.SetCleanerRate(b.cfg.Core.LogCleanerMaxBytesPerSecond)
	return ds, nil
}
