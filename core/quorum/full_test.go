package quorum

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFullDiskRefusesChangesAndGoesOnWhenThereIsRoom fills the disk at every byte of a frame: changes are refused while it is full, the image
// can be read, what was acknowledged survives a power loss, and the node goes on by itself.
func TestFullDiskRefusesChangesAndGoesOnWhenThereIsRoom(t *testing.T) {
	for left := 0; left < 300; left += 7 {
		t.Run(fmt.Sprint("left=", left), func(t *testing.T) {
			t.Parallel()
			disk := newMemFS()
			cfg := Config{NodeID: 1, Dir: "/meta", FS: disk, SegmentBytes: 400} // a segment is begun while it is full, too
			n, err := Open(cfg)
			require.NoError(t, err)
			ran := make(chan error, 1)
			go func() { ran <- n.Run(context.Background()) }()
			ready(t, n)
			require.NoError(t, n.Do(t.Context(), createTopic("before")))
			disk.leave(left)
			made, acked := 0, 0
			for ; made < 20; made++ {
				if err = n.Do(t.Context(), createTopic(fmt.Sprint("t", made))); err != nil {
					break
				}
				acked++
			}
			require.ErrorIs(t, err, ErrFull)
			require.ErrorIs(t, n.Do(t.Context(), createTopic("refused")), ErrFull)
			require.NotNil(t, n.Image().Topic("before"), "what is there can be read")
			disk.leave(-1)
			require.Eventually(t, func() bool { return n.Do(context.Background(), createTopic("after")) == nil }, 10*time.Second, 5*time.Millisecond)
			require.Nil(t, n.Image().Topic("refused"))
			require.NotNil(t, n.Image().Topic(fmt.Sprint("t", made)), "what was under way is made")
			disk.crash(rand.New(rand.NewPCG(uint64(left), 1)))
			_ = n.Close()
			<-ran

			n = start(t, cfg)
			ready(t, n)
			for i := range acked {
				require.NotNil(t, n.Image().Topic(fmt.Sprint("t", i)))
			}
			require.NotNil(t, n.Image().Topic("after"))
			require.NoError(t, n.Do(t.Context(), createTopic("again")))
		})
	}
}

func TestNodeOnAFullDiskCanBeClosed(t *testing.T) {
	disk := newMemFS()
	n := start(t, Config{NodeID: 1, Dir: "/meta", FS: disk})
	ready(t, n)
	disk.leave(0)
	require.ErrorIs(t, n.Do(t.Context(), createTopic("a")), ErrFull)
	require.NoError(t, n.Close())
}
