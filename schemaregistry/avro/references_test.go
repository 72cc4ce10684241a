package avro

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReferencesAreFollowedEachAfterWhatItNeeds(t *testing.T) {
	needs := map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d", "a"}, "d": nil}
	loads := 0
	texts, err := Follow([]string{"a", "d", "a"}, func(r string) (string, error) { return r, nil }, func(r string) (string, []string, error) {
		loads++
		return "text of " + r, needs[r], nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"text of d", "text of b", "text of c", "text of a"}, texts)
	require.Equal(t, 4, loads, "each once, also round a circle")
}

func TestReferencesAreBounded(t *testing.T) {
	name := func(r int) (string, error) { return fmt.Sprint(r), nil }
	many := make([]int, MaxReferences+1)
	for i := range many {
		many[i] = i
	}
	loads := 0
	load := func(int) (string, []int, error) { loads++; return "", nil, nil }
	_, err := Follow(many[1:], name, load)
	require.NoError(t, err)
	require.Equal(t, MaxReferences, loads)
	_, err = Follow(many, name, load)
	require.ErrorIs(t, err, ErrTooManyReferences)
	loads = 0
	_, err = Follow([]int{0}, name, func(r int) (string, []int, error) { loads++; return "", []int{r + 1}, nil })
	require.ErrorIs(t, err, ErrTooManyReferences)
	require.LessOrEqual(t, loads, maxReferenceDepth+1)
}

func TestErrorsOfAReferenceAreReturnedAsTheyAre(t *testing.T) {
	bad, gone := errors.New("no name"), errors.New("not there")
	_, err := Follow([]int{1, 1}, func(int) (string, error) { return "", bad }, nil)
	require.Equal(t, bad, err)
	_, err = Follow([]int{1, 2}, func(int) (string, error) { return "", nil }, func(int) (string, []int, error) { return "", nil, gone })
	require.Equal(t, gone, err)
}
