package metadata

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// someSecurity makes random security records that fit the image so far.
func someSecurity(r *rand.Rand, im *Image) []Record {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	part := func() QuotaName {
		switch r.IntN(3) {
		case 0:
			return QuotaName{}
		case 1:
			return QuotaName{Kind: QuotaDefault}
		}
		return QuotaName{Kind: QuotaNamed, Name: pick("a", "b")}
	}
	switch r.IntN(5) {
	case 0:
		return []Record{&ACLRecord{ID: RandomUUID(), ACL: ACL{ResourceType: 2, ResourceName: pick("t", "u"), PatternType: 3, Principal: "User:a", Host: "*", Operation: int8(r.IntN(10)), Permission: 3}}}
	case 1:
		for id := range im.security.acls {
			return []Record{&RemoveACLRecord{ID: id}}
		}
	case 2:
		return []Record{&ScramCredentialRecord{Key: ScramKey{pick("a", "b"), 1}, Credential: ScramCredential{Salt: []byte("salt"), StoredKey: []byte{1}, ServerKey: []byte{2}, Iterations: int32(4096 + r.IntN(9))}}}
	case 3:
		for k := range im.security.scram {
			return []Record{&RemoveScramRecord{Key: k}}
		}
	case 4:
		return []Record{&ClientQuotaRecord{Entity: QuotaEntity{User: part(), ClientID: part()}, Key: pick("x", "y"), Value: r.Float64() * 1e6, Remove: r.IntN(3) == 0}}
	}
	return nil
}

func TestSecurityRecordsSurviveEncodingAndSnapshots(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		im := Empty()
		for step := range 60 {
			records := someSecurity(r, im)
			decoded, err := Decode(Encode(nil, records))
			require.NoError(t, err)
			next, d, err := im.Apply(Position{Offset: int64(step)}, decoded)
			require.NoError(t, err)
			require.Equal(t, diffSecurity(im, next), d.Security)
			im = next
		}
		again, err := Decode(Encode(nil, im.Records()))
		require.NoError(t, err)
		restored, _, err := Empty().Apply(Position{Offset: im.Offset}, again)
		require.NoError(t, err)
		require.True(t, diffSecurity(im, restored).Empty(), "seed %d", seed)
		require.Equal(t, im.ACLs(), restored.ACLs())
		require.Equal(t, im.QuotaEntities(), restored.QuotaEntities())
	}
}

func TestSecurityRecordsThatContradictAreRefused(t *testing.T) {
	for _, r := range []Record{&RemoveACLRecord{ID: UUID{1}}, &RemoveScramRecord{Key: ScramKey{"a", 1}}} {
		_, _, err := Empty().Apply(Position{}, []Record{r})
		require.Error(t, err)
	}
	_, _, err := Empty().Apply(Position{}, []Record{&ACLRecord{ID: UUID{1}}, &ACLRecord{ID: UUID{1}}})
	require.ErrorContains(t, err, "exists")
}

func TestACLDecisions(t *testing.T) {
	good := ACL{ResourceType: 2, ResourceName: "t", PatternType: 3, Principal: "User:a", Host: "*", Operation: 3, Permission: 3}
	with := func(fn func(*ACL)) ACL { a := good; fn(&a); return a }
	records, errs := CreateACLs(Empty(), Rules{}, []ACL{
		good, good, with(func(a *ACL) { a.ResourceType = 1 }), with(func(a *ACL) { a.PatternType = 2 }), with(func(a *ACL) { a.Operation = 1 }), with(func(a *ACL) { a.Permission = 1 }),
		with(func(a *ACL) { a.ResourceName = "" }), with(func(a *ACL) { a.ResourceType = 4 }), with(func(a *ACL) { a.ResourceType = 99 }), with(func(a *ACL) { a.Operation = 99 }),
	})
	require.Len(t, records, 1, "once, though it was asked for twice")
	var texts []string
	for _, e := range errs {
		if e == nil {
			texts = append(texts, "")
			continue
		}
		require.Equal(t, kerr.InvalidRequest.Code, e.Code)
		texts = append(texts, e.Message)
	}
	require.Equal(t, []string{"", "", "Invalid resourceType ANY", "Invalid patternType MATCH", "Invalid operation ANY", "Invalid permissionType ANY", "Invalid empty resource name", "The only valid name for the CLUSTER resource is kafka-cluster", "Invalid resourceType UNKNOWN", "Invalid operation UNKNOWN"}, texts)
	im, _, err := Empty().Apply(Position{}, records)
	require.NoError(t, err)
	again, errs := CreateACLs(im, Rules{}, []ACL{good})
	require.Empty(t, again)
	require.Nil(t, errs[0])

	name := "t"
	all := ACLFilter{ResourceType: 1, PatternType: 1, Operation: 1, Permission: 1}
	match := ACLFilter{ResourceType: 2, ResourceName: &name, PatternType: 2, Operation: 1, Permission: 1}
	gone, results := DeleteACLs(im, []ACLFilter{all, match, {}})
	require.Len(t, gone, 1)
	require.Equal(t, []ACL{good}, results[0].Deleted)
	require.Equal(t, []ACL{good}, results[1].Deleted)
	require.Equal(t, "Unknown patternFilter.", results[2].Err.Message)
}

func TestFiltersMatchNamesAsPatternsDo(t *testing.T) {
	name := "orders-1"
	f := ACLFilter{ResourceType: 2, ResourceName: &name, PatternType: 2, Operation: 1, Permission: 1}
	for a, want := range map[ACL]bool{
		{ResourceType: 2, ResourceName: "orders-1", PatternType: 3}: true, {ResourceType: 2, ResourceName: "*", PatternType: 3}: true, {ResourceType: 2, ResourceName: "ord", PatternType: 4}: true,
		{ResourceType: 2, ResourceName: "ord", PatternType: 3}: false, {ResourceType: 2, ResourceName: "orders-12", PatternType: 4}: false, {ResourceType: 3, ResourceName: "orders-1", PatternType: 3}: false,
	} {
		require.Equal(t, want, f.Matches(a), "%+v", a)
	}
}

func TestScramDecisions(t *testing.T) {
	set := func(user string, mech int8, iterations int32) AlterScram {
		return AlterScram{Key: ScramKey{user, mech}, Credential: ScramCredential{Salt: []byte("s"), Iterations: iterations}}
	}
	records, results := AlterScramCredentials(Empty(), []AlterScram{
		{Key: ScramKey{"gone", 1}, Delete: true}, set("a", 1, 4096), set("b", 1, 4095), set("c", 1, 16385), set("d", 3, 4096), set("", 1, 4096), set("e", 1, 4096), set("e", 2, 4096),
	})
	require.Len(t, records, 1)
	got := map[string]string{}
	for _, r := range results {
		got[r.User] = ""
		if r.Err != nil {
			got[r.User] = r.Err.Message
		}
	}
	require.Equal(t, map[string]string{
		"gone": "Attempt to delete a user credential that does not exist", "a": "", "b": "Too few iterations", "c": "Too many iterations", "d": "Unknown SCRAM mechanism",
		"": "Username must not be empty", "e": "A user credential cannot be altered twice in the same request",
	}, got)
}

func TestQuotaDecisions(t *testing.T) {
	alice, empty, ip := "alice", "", "127.0.0.1"
	bad := "no-such-host.invalid"
	user := []QuotaEntityPart{{QuotaUser, &alice}}
	op := func(key string, v float64) []QuotaOp { return []QuotaOp{{Key: key, Value: v}} }
	for _, tt := range []struct {
		entity []QuotaEntityPart
		ops    []QuotaOp
		want   string
	}{
		{user, op(QuotaProducerByteRate, 1000), ""},
		{[]QuotaEntityPart{{QuotaUser, nil}, {QuotaClientID, &alice}}, op(QuotaRequestPercentage, 0.5), ""},
		{[]QuotaEntityPart{{QuotaIP, &ip}}, op(QuotaConnectionCreationRate, 5), ""},
		{nil, op(QuotaProducerByteRate, 1), "Invalid empty client quota entity"},
		{[]QuotaEntityPart{{"planet", &alice}}, op(QuotaProducerByteRate, 1), "Unhandled client quota entity type: planet"},
		{[]QuotaEntityPart{{QuotaUser, &empty}}, op(QuotaProducerByteRate, 1), "Empty user not supported"},
		{[]QuotaEntityPart{{QuotaIP, &ip}, {QuotaUser, &alice}}, op(QuotaConnectionCreationRate, 1), "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"}, //nolint:misspell // Kafka's text
		{[]QuotaEntityPart{{QuotaIP, &bad}}, op(QuotaConnectionCreationRate, 1), "no-such-host.invalid is not a valid IP or resolvable host."},
		{user, op("nope", 1), "Invalid configuration key nope"},
		{user, op(QuotaConnectionCreationRate, 1), "Invalid configuration key connection_creation_rate"},
		{user, op(QuotaProducerByteRate, 0), "Quota producer_byte_rate must be greater than 0"},
		{user, op(QuotaProducerByteRate, 1.5), "producer_byte_rate cannot be a fractional value."},
		{[]QuotaEntityPart{{QuotaIP, &ip}}, op(QuotaConnectionCreationRate, 1e10), "Proposed value for connection_creation_rate is too large for an INT."},
	} {
		records, errs := AlterClientQuotas(Empty(), []AlterClientQuota{{tt.entity, tt.ops}})
		if tt.want == "" {
			require.Nil(t, errs[0])
			require.Len(t, records, 1)
			continue
		}
		require.NotNil(t, errs[0], tt.want)
		require.Equal(t, tt.want, errs[0].Message)
		require.Empty(t, records)
	}
}
