package broker

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRepeats is how often a request may name one and the same thing that is to be described. As in Kafka each is answered; without a bound
// a few kilobytes that name a broker or a large group again and again are answered with gigabytes.
const maxRepeats = 16

// repeats refuses a request that names something more often.
func repeats(req kmsg.Request) error {
	var seen map[string]int
	var err error
	count := func(n int, name func(i int) string) {
		if n <= maxRepeats || err != nil {
			return
		}
		if seen == nil {
			seen = make(map[string]int, n)
		}
		for i := range n {
			s := name(i)
			if seen[s]++; seen[s] > maxRepeats {
				err = fmt.Errorf("a request of %s names %.100q more than %d times", kmsg.NameForKey(req.Key()), s, maxRepeats)
				return
			}
		}
	}
	switch q := req.(type) {
	case *kmsg.DescribeConfigsRequest:
		count(len(q.Resources), func(i int) string { return resourceKey(q.Resources[i].ResourceType, q.Resources[i].ResourceName) })
	case *kmsg.DescribeGroupsRequest:
		count(len(q.Groups), func(i int) string { return q.Groups[i] })
	case *kmsg.ConsumerGroupDescribeRequest:
		count(len(q.Groups), func(i int) string { return q.Groups[i] })
	case *kmsg.OffsetFetchRequest:
		count(len(q.Groups), func(i int) string { return q.Groups[i].Group })
	case *kmsg.DescribeTransactionsRequest:
		count(len(q.TransactionalIDs), func(i int) string { return q.TransactionalIDs[i] })
	case *kmsg.DescribeProducersRequest:
		count(len(q.Topics), func(i int) string { return q.Topics[i].Topic })
		for i := range q.Topics {
			t := &q.Topics[i]
			clear(seen)
			count(len(t.Partitions), func(i int) string { return t.Topic + "-" + strconv.Itoa(int(t.Partitions[i])) })
		}
	}
	return err
}
