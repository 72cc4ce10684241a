package metadata

import "fmt"

// One encode and one decode for each record, version 1 of all of them. A new field needs a new record
// version (or record type), which readers of the old release refuse.

func (*NoOpRecord) encode(*encoder) {}
func (*NoOpRecord) decode(*decoder) {}

func (r *ClusterIDRecord) encode(e *encoder) { e.string(r.ClusterID) }
func (r *ClusterIDRecord) decode(d *decoder) { r.ClusterID = d.string() }

func (r *RegisterBrokerRecord) encode(e *encoder) {
	e.varint(int64(r.BrokerID))
	e.uuid(r.IncarnationID)
	e.varint(r.Epoch)
	e.uvarint(uint64(len(r.Listeners)))
	for _, l := range r.Listeners {
		e.string(l.Name)
		e.string(l.Host)
		e.uvarint(uint64(l.Port))
		e.varint(int64(l.SecurityProtocol))
	}
	e.uvarint(uint64(len(r.Features)))
	for _, f := range r.Features {
		e.string(f.Name)
		e.varint(int64(f.Min))
		e.varint(int64(f.Max))
	}
	e.string(r.Rack)
	e.bool(r.Fenced)
	e.bool(r.InControlledShutdown)
	e.uvarint(uint64(len(r.LogDirs)))
	for _, u := range r.LogDirs {
		e.uuid(u)
	}
}

func (r *RegisterBrokerRecord) decode(d *decoder) {
	r.BrokerID = d.int32()
	r.IncarnationID = d.uuid()
	r.Epoch = d.varint()
	if n := d.count(4); n > 0 {
		r.Listeners = make([]Listener, n)
		for i := range r.Listeners {
			r.Listeners[i] = Listener{Name: d.string(), Host: d.string(), Port: d.uint16(), SecurityProtocol: d.int16()}
		}
	}
	if n := d.count(3); n > 0 {
		r.Features = make([]FeatureRange, n)
		for i := range r.Features {
			r.Features[i] = FeatureRange{Name: d.string(), Min: d.int16(), Max: d.int16()}
		}
	}
	r.Rack = d.string()
	r.Fenced = d.bool()
	r.InControlledShutdown = d.bool()
	if n := d.count(16); n > 0 {
		r.LogDirs = make([]UUID, n)
		for i := range r.LogDirs {
			r.LogDirs[i] = d.uuid()
		}
	}
}

func (r *UnregisterBrokerRecord) encode(e *encoder) {
	e.varint(int64(r.BrokerID))
	e.varint(r.Epoch)
}

func (r *UnregisterBrokerRecord) decode(d *decoder) {
	r.BrokerID = d.int32()
	r.Epoch = d.varint()
}

func (r *BrokerRegistrationChangeRecord) encode(e *encoder) {
	e.varint(int64(r.BrokerID))
	e.varint(r.Epoch)
	e.varint(int64(r.Fenced))
	e.varint(int64(r.InControlledShutdown))
}

func (r *BrokerRegistrationChangeRecord) decode(d *decoder) {
	r.BrokerID = d.int32()
	r.Epoch = d.varint()
	r.Fenced = d.change()
	r.InControlledShutdown = d.change()
}

func (d *decoder) change() Change {
	c := Change(d.int8())
	if c < SetFalse || c > SetTrue {
		d.fail(fmt.Errorf("change is %d, want -1, 0 or 1", c))
		return Unchanged
	}
	return c
}

func (r *TopicRecord) encode(e *encoder) {
	e.string(r.Name)
	e.uuid(r.ID)
}

func (r *TopicRecord) decode(d *decoder) {
	r.Name = d.string()
	r.ID = d.uuid()
}

func (r *RemoveTopicRecord) encode(e *encoder) { e.uuid(r.ID) }
func (r *RemoveTopicRecord) decode(d *decoder) { r.ID = d.uuid() }

func (r *PartitionRecord) encode(e *encoder) {
	p := &r.Partition
	e.uuid(r.TopicID)
	e.varint(int64(p.Index))
	e.varint(int64(p.Leader))
	e.varint(int64(p.LeaderEpoch))
	e.varint(int64(p.PartitionEpoch))
	e.uvarint(uint64(p.Recovery))
	e.ints(p.Replicas)
	e.ints(p.ISR)
	e.ints(p.ELR)
	e.ints(p.LastKnownELR)
	e.ints(p.Adding)
	e.ints(p.Removing)
}

func (r *PartitionRecord) decode(d *decoder) {
	p := &r.Partition
	r.TopicID = d.uuid()
	p.Index = d.int32()
	p.Leader = d.int32()
	p.LeaderEpoch = d.int32()
	p.PartitionEpoch = d.int32()
	p.Recovery = d.recovery()
	p.Replicas = d.list()
	p.ISR = d.list()
	p.ELR = d.list()
	p.LastKnownELR = d.list()
	p.Adding = d.list()
	p.Removing = d.list()
}

func (d *decoder) recovery() LeaderRecovery {
	v := d.uvarint()
	if v > uint64(Recovering) {
		d.fail(fmt.Errorf("leader recovery state is %d, want 0 or 1", v))
		return Recovered
	}
	return LeaderRecovery(v)
}

func (r *PartitionChangeRecord) encode(e *encoder) {
	e.uuid(r.TopicID)
	e.varint(int64(r.Partition))
	e.bool(r.Leader != nil)
	if r.Leader != nil {
		e.varint(int64(*r.Leader))
	}
	e.bool(r.Recovery != nil)
	if r.Recovery != nil {
		e.uvarint(uint64(*r.Recovery))
	}
	e.nullableInts(r.Replicas)
	e.nullableInts(r.ISR)
	e.nullableInts(r.ELR)
	e.nullableInts(r.LastKnownELR)
	e.nullableInts(r.Adding)
	e.nullableInts(r.Removing)
}

func (r *PartitionChangeRecord) decode(d *decoder) {
	r.TopicID = d.uuid()
	r.Partition = d.int32()
	if d.bool() {
		v := d.int32()
		r.Leader = &v
	}
	if d.bool() {
		v := d.recovery()
		r.Recovery = &v
	}
	r.Replicas = d.nullableInts()
	r.ISR = d.nullableInts()
	r.ELR = d.nullableInts()
	r.LastKnownELR = d.nullableInts()
	r.Adding = d.nullableInts()
	r.Removing = d.nullableInts()
}

func (r *ConfigRecord) encode(e *encoder) {
	e.varint(int64(r.Resource.Type))
	e.string(r.Resource.Name)
	e.string(r.Key)
	e.bool(r.Value != nil)
	if r.Value != nil {
		e.string(*r.Value)
	}
}

func (r *ConfigRecord) decode(d *decoder) {
	r.Resource.Type = ResourceType(d.int8())
	r.Resource.Name = d.string()
	r.Key = d.string()
	if d.bool() {
		v := d.string()
		r.Value = &v
	}
}

func (r *ProducerIDsRecord) encode(e *encoder) {
	e.varint(int64(r.BrokerID))
	e.varint(r.Epoch)
	e.varint(r.Next)
}

func (r *ProducerIDsRecord) decode(d *decoder) {
	r.BrokerID = d.int32()
	r.Epoch = d.varint()
	r.Next = d.varint()
}

func (r *FeatureLevelRecord) encode(e *encoder) {
	e.string(r.Name)
	e.varint(int64(r.Level))
}

func (r *FeatureLevelRecord) decode(d *decoder) {
	r.Name = d.string()
	r.Level = d.int16()
}

func (r *ClearELRRecord) encode(e *encoder) { e.string(r.Topic) }
func (r *ClearELRRecord) decode(d *decoder) { r.Topic = d.string() }

func (r *OfflineReplicasRecord) encode(e *encoder) {
	e.varint(int64(r.BrokerID))
	e.uuid(r.TopicID)
	e.ints(r.Partitions)
}

func (r *OfflineReplicasRecord) decode(d *decoder) {
	r.BrokerID = d.int32()
	r.TopicID = d.uuid()
	r.Partitions = d.list()
}
