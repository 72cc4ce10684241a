package group

import (
	"cmp"
	"slices"
)

// maxBalanceRounds bounds how often the balancer goes over all topics.
const maxBalanceRounds = 16

// balancer is the uniform assignor for members that subscribe to different topics. Members keep what they
// had; partitions without an owner go to the least loaded subscriber; then, topic by topic, partitions move
// from the most to the least loaded subscribers until nothing changes or the rounds are over.
type balancer struct {
	spec        *groupSpec
	topics      map[uuid]bool
	subscribers map[uuid][]int
	owners      map[uuid][]int // by partition; -1: nobody
	sizes       []int          // partitions by member
	tables      []*targetTable // of the members whose target changes
	loads       loadRange
}

func newBalancer(spec *groupSpec) *balancer {
	b := &balancer{
		spec: spec, topics: map[uuid]bool{}, subscribers: map[uuid][]int{}, owners: map[uuid][]int{},
		sizes: make([]int, len(spec.members)), tables: make([]*targetTable, len(spec.members)),
	}
	for i := range spec.members {
		for _, id := range spec.members[i].topics {
			b.subscribers[id] = append(b.subscribers[id], i)
			if !b.topics[id] {
				b.topics[id] = true
				owners := make([]int, spec.partitions(id))
				for p := range owners {
					owners[p] = -1
				}
				b.owners[id] = owners
			}
		}
	}
	b.loads.sizes = b.sizes
	return b
}

func (b *balancer) run() map[string]*target {
	if len(b.topics) == 0 {
		return map[string]*target{}
	}
	for i := range b.spec.members {
		m := &b.spec.members[i]
		for _, id := range m.old.javaOrder() {
			if !m.subscribes(id) {
				b.table(i).drop(id)
				continue
			}
			for _, p := range m.old.parts[id] {
				if int(p) < len(b.owners[id]) {
					b.owners[id][p] = i
					b.sizes[i]++
				}
			}
		}
	}
	b.assignFree()
	b.balance()
	out := make(map[string]*target, len(b.spec.members))
	for i := range b.spec.members {
		m := &b.spec.members[i]
		if out[m.id] = m.old; b.tables[i] != nil {
			out[m.id] = b.tables[i].target()
		}
	}
	return out
}

// table is the topics of a member whose target changes.
func (b *balancer) table(member int) *targetTable {
	if b.tables[member] == nil {
		b.tables[member] = b.spec.members[member].copyOld()
	}
	return b.tables[member]
}

// sorted is the topics with the most partitions for each subscriber first.
func (b *balancer) sorted(keep func(uuid) bool) []uuid {
	var ids []uuid
	for id := range b.topics {
		if keep(id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y uuid) int {
		nx, ny := len(b.subscribers[x]), len(b.subscribers[y])
		if c := cmp.Compare(float64(len(b.owners[y]))/float64(ny), float64(len(b.owners[x]))/float64(nx)); c != 0 {
			return c
		}
		if c := cmp.Compare(nx, ny); c != 0 {
			return c
		}
		return compareUUID(x, y)
	})
	return ids
}

func (b *balancer) move(id uuid, p, to int) {
	if from := b.owners[id][p]; from >= 0 {
		b.sizes[from]--
		b.table(from).remove(id, int32(p))
	}
	b.owners[id][p] = to
	b.sizes[to]++
	each := (len(b.owners[id]) + len(b.subscribers[id]) - 1) / len(b.subscribers[id])
	b.table(to).add(id, int32(p), int(float32(each)/0.75+1))
}

func (b *balancer) assignFree() {
	for _, id := range b.sorted(func(id uuid) bool { return slices.Contains(b.owners[id], -1) }) {
		b.loads.reset(b.subscribers[id])
		for p, owner := range b.owners[id] {
			if owner < 0 {
				b.move(id, p, b.loads.least())
			}
		}
	}
}

func (b *balancer) balance() {
	ids := b.sorted(func(id uuid) bool { return len(b.subscribers[id]) >= 2 })
	last := -1 // the topic after which nothing has changed
	for range maxBalanceRounds {
		for i, id := range ids {
			if i == last {
				return
			}
			if b.balanceTopic(id) > 0 || last == -1 {
				last = i
			}
		}
	}
}

// balanceTopic moves partitions of one topic, and says how many.
func (b *balancer) balanceTopic(id uuid) (moved int) {
	owners := b.owners[id]
	if b.loads.reset(b.subscribers[id]) <= 1 {
		return 0
	}
	byOwner := make([]int, len(owners))
	for p := range byOwner {
		byOwner[p] = p
	}
	slices.SortStableFunc(byOwner, func(x, y int) int { return owners[x] - owners[y] })
	starts, ends := map[int]int{}, map[int]int{}
	for i, p := range byOwner {
		if _, ok := starts[owners[p]]; !ok {
			starts[owners[p]] = i
		}
		ends[owners[p]] = i + 1
	}
	for !b.loads.balanced() {
		most := b.loads.most()
		if most == -1 {
			break
		}
		if ends[most] <= starts[most] {
			b.loads.excludeMost()
			continue
		}
		ends[most]--
		p := byOwner[ends[most]]
		to := b.loads.least()
		if b.loads.balanced() {
			break
		}
		b.move(id, p, to)
		moved++
	}
	return moved
}

// loadRange hands out the least and the most loaded of some members, while partitions move from the latter to
// the former: the members at either end form a range of equal load that is gone through before it grows.
type loadRange struct {
	sizes   []int // of all members; changes under it
	members []int // by load

	leastEnd, leastLoad, nextLeast         int
	mostStart, mostEnd, mostLoad, nextMost int
}

// reset begins with these members and returns the difference between the largest and the smallest load.
func (r *loadRange) reset(members []int) int {
	r.members = append(r.members[:0], members...)
	slices.SortFunc(r.members, func(a, b int) int {
		if c := cmp.Compare(r.sizes[a], r.sizes[b]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	n := len(r.members)
	low, high := r.sizes[r.members[0]], r.sizes[r.members[n-1]]
	r.leastEnd, r.leastLoad, r.nextLeast = 0, low-1, 0
	r.mostStart, r.mostEnd, r.mostLoad, r.nextMost = n, n, high+1, n-1
	return high - low
}

func (r *loadRange) least() int {
	if r.nextLeast >= r.leastEnd {
		r.leastLoad++
		for r.leastEnd < len(r.members) && r.sizes[r.members[r.leastEnd]] == r.leastLoad {
			r.leastEnd++
		}
		r.nextLeast = 0
	}
	m := r.members[r.nextLeast]
	r.nextLeast++
	return m
}

func (r *loadRange) most() int {
	if r.nextMost < r.mostStart {
		if r.mostEnd <= r.mostStart && r.mostStart > 0 {
			r.mostLoad = r.sizes[r.members[r.mostStart-1]]
		} else {
			r.mostLoad--
		}
		for r.mostStart > 0 && r.sizes[r.members[r.mostStart-1]] == r.mostLoad {
			r.mostStart--
		}
		r.nextMost = r.mostEnd - 1
	}
	if r.nextMost < 0 {
		return -1
	}
	m := r.members[r.nextMost]
	r.nextMost--
	return m
}

// excludeMost takes the member that most gave last out of the range.
func (r *loadRange) excludeMost() {
	i := r.nextMost + 1
	r.members[i], r.members[r.mostEnd-1] = r.members[r.mostEnd-1], r.members[i]
	r.mostEnd--
}

func (r *loadRange) balanced() bool { return r.mostLoad-r.leastLoad <= 1 }
