package metadata

import (
	"fmt"
	"maps"
	"slices"
)

// Replicas on log directories that have failed.
//
// A broker whose directory fails serves on what is in the others, so it is not fenced: it reports which of its replicas cannot be served
// (Kafka has it report the directories, KIP-858, and knows by AssignReplicasToDirs what is in them; here the report names the replicas). Such
// a replica leaves the ISR and leads nothing. It is in Partition.Offline until a report, of this process or of the next, no longer has it.

// OfflineReplicas is a broker's report: all of its replicas that it cannot serve.
type OfflineReplicas struct {
	BrokerID int32
	Epoch    int64 // of the broker's registration
	// Partitions are the partitions by topic. Those that are not known, or are not the broker's, are passed over.
	Partitions map[UUID][]int32
}

// DecideOfflineReplicas takes a report: replicas that are new in it leave their ISRs and leaderships, those that are no longer in it may
// lead again.
func DecideOfflineReplicas(im *Image, rules Rules, r OfflineReplicas) ([]Record, error) {
	if err := checkBrokerEpoch(im, r.BrokerID, r.Epoch); err != nil {
		return nil, err
	}
	var records []Record
	for _, t := range im.Topics() {
		reported := indexSet(r.Partitions[t.ID])
		rec := &OfflineReplicasRecord{BrokerID: r.BrokerID, TopicID: t.ID}
		var changed []int32
		for i := range t.Partitions {
			p := &t.Partitions[i]
			is := reported[p.Index] && slices.Contains(p.Replicas, r.BrokerID)
			if is {
				rec.Partitions = append(rec.Partitions, p.Index)
			}
			if is != slices.Contains(p.Offline, r.BrokerID) {
				changed = append(changed, p.Index)
			}
		}
		if len(changed) == 0 {
			continue
		}
		next, _, err := im.Apply(Position{im.Offset, im.Epoch}, []Record{rec})
		if err != nil {
			return nil, fmt.Errorf("report offline replicas: %w", err)
		}
		records = append(records, rec)
		for _, i := range changed {
			p := next.Partition(t.Name, i)
			e := edit(next, &rules, t, p)
			if slices.Contains(p.Offline, r.BrokerID) {
				e.isr = without(p.ISR, []int32{r.BrokerID})
			}
			if rec := e.record(t.ID); rec != nil {
				records = append(records, rec)
			}
		}
	}
	return records, nil
}

func (m *mutation) setOffline(r *OfflineReplicasRecord) error {
	t, touched, err := m.ownTopic(r.TopicID)
	if err != nil {
		return err
	}
	for _, i := range r.Partitions {
		if i < 0 || int(i) >= len(t.Partitions) {
			return fmt.Errorf("topic %q has no partition %d", t.Name, i)
		}
	}
	offline := indexSet(r.Partitions)
	for i := range t.Partitions {
		p := &t.Partitions[i]
		was, is := slices.Contains(p.Offline, r.BrokerID), offline[p.Index]
		if was == is {
			continue
		}
		if is {
			p.Offline = slices.Sorted(slices.Values(append([]int32{r.BrokerID}, p.Offline...)))
		} else if p.Offline = without(p.Offline, []int32{r.BrokerID}); len(p.Offline) == 0 {
			p.Offline = nil
		}
		touched.partitions[p.Index] = true
	}
	return nil
}

func indexSet(ids []int32) map[int32]bool {
	m := make(map[int32]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// offlineRecords are the records that rebuild what is offline of a topic, by broker.
func offlineRecords(t *Topic) []Record {
	by := map[int32][]int32{}
	for i := range t.Partitions {
		for _, id := range t.Partitions[i].Offline {
			by[id] = append(by[id], t.Partitions[i].Index)
		}
	}
	var out []Record
	for _, id := range slices.Sorted(maps.Keys(by)) {
		out = append(out, &OfflineReplicasRecord{BrokerID: id, TopicID: t.ID, Partitions: by[id]})
	}
	return out
}
