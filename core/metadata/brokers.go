package metadata

import (
	"github.com/twmb/franz-go/pkg/kerr"
)

// RegisterBroker asks to register a broker, or a new incarnation of it.
type RegisterBroker struct {
	ClusterID     string // "" is not checked
	ID            int32
	IncarnationID UUID
	Listeners     []Listener
	Features      []FeatureRange
	Rack          string
	LogDirs       []UUID
	// PreviousEpoch is the broker epoch of the last clean shutdown, -1 when the last one was not clean or
	// there was none (KIP-966).
	PreviousEpoch int64
	// SessionAlive tells that another incarnation of this broker sent a heartbeat within its session.
	SessionAlive bool
}

// DecideRegisterBroker registers a broker, fenced, and answers its broker epoch. A broker that did not
// shut down cleanly may have lost the unsynced end of its logs, so with KIP-966 on it leaves ISR and ELR.
func DecideRegisterBroker(im *Image, rules Rules, r RegisterBroker) ([]Record, int64, error) {
	if r.ClusterID != "" && im.ClusterID != "" && r.ClusterID != im.ClusterID {
		return nil, 0, refuse(kerr.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", im.ClusterID, r.ClusterID)
	}
	if r.ID < 0 {
		return nil, 0, refuse(kerr.InvalidRequest, "Broker id %d is negative", r.ID)
	}
	old := im.brokers[r.ID]
	if old != nil && old.IncarnationID != r.IncarnationID && r.SessionAlive && !old.InControlledShutdown {
		return nil, 0, refuse(kerr.DuplicateBrokerRegistration, "Another broker is registered with that broker id. If the broker was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.")
	}
	if len(r.Listeners) == 0 {
		return nil, 0, refuse(kerr.InvalidRequest, "Broker %d has no listeners", r.ID)
	}
	for name, level := range im.features {
		ok := false
		for _, f := range r.Features {
			if f.Name == name {
				ok = level >= f.Min && level <= f.Max
			}
		}
		if !ok {
			return nil, 0, refuse(kerr.UnsupportedVersion, "Unable to register because the broker does not support finalized version %d of %s. The broker wants a version that is not the finalized one.", level, name)
		}
	}
	epoch := im.Offset + 1
	if old != nil && old.IncarnationID == r.IncarnationID {
		epoch = old.Epoch // the same process asks again
	}
	rec := &RegisterBrokerRecord{
		BrokerID: r.ID, IncarnationID: r.IncarnationID, Epoch: epoch, Listeners: r.Listeners, Features: r.Features,
		Rack: r.Rack, Fenced: true, LogDirs: r.LogDirs,
	}
	if old != nil && old.IncarnationID == r.IncarnationID {
		rec.Fenced, rec.InControlledShutdown = old.Fenced, old.InControlledShutdown
		return []Record{rec}, epoch, nil
	}
	var records []Record
	if elrEnabled(im) {
		records = pinMinISR(im, &rules, true)
	}
	if old != nil {
		unclean := elrEnabled(im) && r.PreviousEpoch != old.Epoch
		if unclean || !old.Fenced {
			records = append(records, leaveISR(im, &rules, r.ID, unclean)...)
		}
	}
	return append(records, rec), epoch, nil
}

// UnregisterBroker removes a broker's registration; its partitions get other leaders.
func UnregisterBroker(im *Image, rules Rules, id int32) ([]Record, error) {
	b := im.brokers[id]
	if b == nil {
		return nil, refuse(kerr.BrokerIDNotRegistered, "Broker ID %d is not currently registered", id)
	}
	return append(leaveISR(im, &rules, id, false), &UnregisterBrokerRecord{BrokerID: id, Epoch: b.Epoch}), nil
}

// FenceBroker fences a broker whose session ran out. It is a no-op when the broker is fenced or gone.
func FenceBroker(im *Image, rules Rules, id int32) []Record {
	b := im.brokers[id]
	if b == nil || b.Fenced {
		return nil
	}
	return append(leaveISR(im, &rules, id, false), &BrokerRegistrationChangeRecord{BrokerID: id, Epoch: b.Epoch, Fenced: SetTrue})
}

// Heartbeat is a broker's heartbeat.
type Heartbeat struct {
	BrokerID       int32
	Epoch          int64
	MetadataOffset int64 // the newest offset the broker applied
	WantFence      bool
	WantShutDown   bool
	// OthersCaughtUp tells that every other live broker has applied the metadata up to the point where this
	// one's leaderships moved; only then may a broker in controlled shutdown go down.
	OthersCaughtUp bool
}

// HeartbeatResult is what the broker is told.
type HeartbeatResult struct {
	CaughtUp       bool
	Fenced         bool
	ShouldShutDown bool
}

// DecideHeartbeat moves a broker through its life: fenced, live, in controlled shutdown, gone.
// A broker is unfenced when it asks to be and has applied its own registration.
func DecideHeartbeat(im *Image, rules Rules, h Heartbeat) ([]Record, HeartbeatResult, error) {
	if err := checkBrokerEpoch(im, h.BrokerID, h.Epoch); err != nil {
		return nil, HeartbeatResult{}, err
	}
	b := im.brokers[h.BrokerID]
	res := HeartbeatResult{CaughtUp: h.MetadataOffset >= b.Epoch, Fenced: b.Fenced}
	switch {
	case h.WantShutDown && (b.Fenced || b.InControlledShutdown && h.OthersCaughtUp || !b.InControlledShutdown && !canHandOver(im, b.ID)):
		// When nobody else can lead, waiting would not help.
		res.ShouldShutDown, res.Fenced = true, true
		return FenceBroker(im, rules, b.ID), res, nil
	case h.WantShutDown && b.InControlledShutdown:
		return nil, res, nil
	case h.WantShutDown:
		records := leaveISR(im, &rules, b.ID, false)
		return append(records, &BrokerRegistrationChangeRecord{BrokerID: b.ID, Epoch: b.Epoch, InControlledShutdown: SetTrue}), res, nil
	case h.WantFence:
		res.Fenced = true
		return FenceBroker(im, rules, h.BrokerID), res, nil
	case b.Fenced && res.CaughtUp:
		res.Fenced = false
		records := []Record{&BrokerRegistrationChangeRecord{BrokerID: b.ID, Epoch: b.Epoch, Fenced: SetFalse, InControlledShutdown: SetFalse}}
		return append(records, joinAsLeader(im, &rules, b.ID)...), res, nil
	}
	return nil, res, nil
}

// canHandOver reports whether some partition led by the broker could be led by another.
func canHandOver(im *Image, id int32) bool {
	for _, t := range im.topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader != id {
				continue
			}
			for _, other := range p.ISR {
				if b := im.brokers[other]; other != id && b != nil && b.EligibleForISR() {
					return true
				}
			}
		}
	}
	return false
}
