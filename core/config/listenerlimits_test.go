package config

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimitsOfListenersFollowTheLayers(t *testing.T) {
	l := Layers{
		Static:  map[string]string{"listener.name.out.max.connections": "5", "listener.name.in.max.connection.creation.rate": "7", "max.connections": "3"},
		Cluster: map[string]string{"listener.name.OUT.max.connections": "6"},
		Broker:  map[string]string{"listener.name.out.max.connection.creation.rate": " 8 "},
	}
	require.Equal(t, map[string]ListenerLimit{"OUT": {6, 8}, "IN": {math.MaxInt32, 7}}, ListenerLimits(l))
}

func TestPropertiesOfListenersAreDescribed(t *testing.T) {
	l := Layers{
		Static: map[string]string{
			"max.connections": "9", "listener.name.x.max.connections": "5", "listener.name.x.plain.sasl.jaas.config": "secret", "sasl.jaas.config": "other",
			"listener.name.x.ssl.client.auth": "required",
		},
		Cluster: map[string]string{"listener.name.x.max.connections": "6"},
		Broker:  map[string]string{"max.connections": "7"},
	}
	shown := func(entries []Entry) (out []string) {
		for _, e := range entries {
			v := "null"
			if e.Value != nil {
				v = *e.Value
			}
			s := e.Name + "=" + v
			for _, y := range e.Synonyms {
				v := "null"
				if y.Value != nil {
					v = *y.Value
				}
				s += " " + y.Name + "=" + v
			}
			require.True(t, e.ReadOnly)
			out = append(out, s)
		}
		return out
	}
	require.Equal(t, []string{
		"listener.name.x.max.connections=6 max.connections=7 listener.name.x.max.connections=6 listener.name.x.max.connections=5 max.connections=9 max.connections=2147483647",
		"listener.name.x.plain.sasl.jaas.config=null listener.name.x.plain.sasl.jaas.config=null",
		"listener.name.x.ssl.client.auth=required listener.name.x.ssl.client.auth=required ssl.client.auth=none",
	}, shown(describeListeners(l, nil, true)))
	require.Equal(t, []string{"listener.name.x.max.connections=6 listener.name.x.max.connections=6"}, shown(describeListeners(l, nil, false)))
	require.Empty(t, describeListeners(l, []string{"listener.name.y.max.connections", "max.connections", "listener.name."}, true))
}
