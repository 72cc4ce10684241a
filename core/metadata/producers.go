package metadata

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ProducerIDBlockSize is how many producer ids a broker gets at a time.
const ProducerIDBlockSize = 1000

// ProducerIDBlock is a range of producer ids that belongs to one broker.
type ProducerIDBlock struct {
	First int64
	Len   int32
}

// AllocateProducerIDs gives the broker the next block of producer ids.
func AllocateProducerIDs(im *Image, brokerID int32, brokerEpoch int64) ([]Record, ProducerIDBlock, error) {
	if err := checkBrokerEpoch(im, brokerID, brokerEpoch); err != nil {
		return nil, ProducerIDBlock{}, err
	}
	first := im.NextProducerID
	if first > math.MaxInt64-ProducerIDBlockSize {
		return nil, ProducerIDBlock{}, refuse(kerr.UnknownServerError, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
	}
	rec := &ProducerIDsRecord{BrokerID: brokerID, Epoch: brokerEpoch, Next: first + ProducerIDBlockSize}
	return []Record{rec}, ProducerIDBlock{First: first, Len: ProducerIDBlockSize}, nil
}

// checkBrokerEpoch refuses requests of brokers that are not registered or were registered anew since.
func checkBrokerEpoch(im *Image, id int32, epoch int64) error {
	b := im.brokers[id]
	if b == nil {
		return refuse(kerr.StaleBrokerEpoch, "No broker registration found for broker id %d", id)
	}
	if b.Epoch != epoch {
		return refuse(kerr.StaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.Epoch, epoch)
	}
	return nil
}
