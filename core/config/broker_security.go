package config

import (
	"fmt"
	"slices"
	"strings"
)

// brokerKeysSecurity are properties that Kafka's StandardAuthorizer reads beside the broker's own, and one of moldau's.
var brokerKeysSecurity = []Key{
	{Name: "allow.everyone.if.no.acl.found", Type: Boolean, Default: text("false"), Importance: Medium},
	{Name: "super.users", Type: String, Default: text(""), Importance: Medium},
	{Name: "scram.bootstrap.credentials", Type: Password, Importance: Low},
}

// StandardAuthorizer is the one value of authorizer.class.name that turns authorization on.
const StandardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

// OAuthBearerValidator is the callback handler that OAUTHBEARER listeners name in Kafka; it is what moldau always does.
const OAuthBearerValidator = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"

// securityDocs documents the properties of security and quotas that moldau acts on.
var securityDocs = map[string]string{
	"allow.everyone.if.no.acl.found":                      "Whether everyone may use a resource that no access control entry speaks of.",
	"authorizer.class.name":                               "Empty for no authorization, or " + StandardAuthorizer + " for access control lists.",
	"connection.failed.authentication.delay.ms":           "How long a failed authentication waits for its answer, in milliseconds.",
	"connections.max.reauth.ms":                           "After how many milliseconds a SASL client must authenticate again. 0 means never, unless its credential ends.",
	"controller.quota.window.num":                         "How many samples the quotas on changes of metadata remember.",
	"controller.quota.window.size.seconds":                "How long a sample of the quotas on changes of metadata is, in seconds.",
	"max.connection.creation.rate":                        "The most connections that are accepted each second; with listener.name.NAME. before it, on that listener.",
	"quota.window.num":                                    "How many samples the client quotas remember.",
	"quota.window.size.seconds":                           "How long a sample of the client quotas is, in seconds.",
	"sasl.enabled.mechanisms":                             "The SASL mechanisms of a listener: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER. Kafka's default GSSAPI is not supported: set it.",
	"sasl.kerberos.min.time.before.relogin":               "The shortest time between two logins to Kerberos, in milliseconds. GSSAPI cannot be enabled, so nothing logs in.",
	"sasl.kerberos.ticket.renew.jitter":                   "The share of random time in the renewal of a Kerberos ticket. GSSAPI cannot be enabled, so nothing is renewed.",
	"sasl.kerberos.ticket.renew.window.factor":            "The share of a Kerberos ticket's life after which it is renewed. GSSAPI cannot be enabled, so nothing is renewed.",
	"sasl.jaas.config":                                    "The login module of a mechanism. It must be given as listener.name.NAME.MECHANISM.sasl.jaas.config.",
	"sasl.mechanism.inter.broker.protocol":                "The mechanism with which brokers would authenticate to each other. It must be enabled; a single node opens no such connections.",
	"sasl.oauthbearer.clock.skew.seconds":                 "By how many seconds the clock of the issuer of tokens may differ.",
	"sasl.oauthbearer.expected.audience":                  "The audiences of which a token must name one. OAUTHBEARER needs it.",
	"sasl.oauthbearer.expected.issuer":                    "The issuer that a token must name. OAUTHBEARER needs it.",
	"sasl.oauthbearer.jwks.endpoint.refresh.ms":           "How often the issuer's keys are fetched, in milliseconds.",
	"sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": "The longest wait before the issuer's keys are fetched again after a failure, and the shortest between fetches for unknown keys, in milliseconds.",
	"sasl.oauthbearer.jwks.endpoint.retry.backoff.ms":     "The first wait before the issuer's keys are fetched again after a failure, in milliseconds.",
	"sasl.oauthbearer.jwks.endpoint.url":                  "Where the issuer of tokens publishes its keys: an https, http or file URL of a JSON web key set. OAUTHBEARER needs it.",
	"sasl.oauthbearer.scope.claim.name":                   "The claim of a token that holds its scopes.",
	"sasl.oauthbearer.sub.claim.name":                     "The claim of a token that holds the name of the principal.",
	"sasl.server.callback.handler.class":                  "For OAUTHBEARER, " + OAuthBearerValidator + " or nothing, which is the same.",
	"sasl.server.max.receive.size":                        "The largest message of a client that has not authenticated, in bytes.",
	"scram.bootstrap.credentials":                         "moldau's own. SCRAM users that are made when the cluster is, in the form of kafka-storage's --add-scram: SCRAM-SHA-256=[name=alice,password=secret], several separated by semicolons.",
	"security.inter.broker.protocol":                      "The security protocol of connections between brokers. A single node opens none; it must be that of inter.broker.listener.name.",
	"ssl.allow.dn.changes":                                "Whether a certificate that is read again may have another distinguished name.",
	"ssl.allow.san.changes":                               "Whether a certificate that is read again may have other alternative names.",
	"ssl.cipher.suites":                                   "The cipher suites of TLS 1.2, by their IANA names. Empty means Go's choice. Those of TLS 1.3 cannot be chosen.",
	"ssl.client.auth":                                     "Whether clients must (required), may (requested) or do not (none) show a certificate.",
	"ssl.enabled.protocols":                               "The versions of TLS that are spoken: TLSv1.2, TLSv1.3.",
	"ssl.endpoint.identification.algorithm":               "How brokers would check the names of servers they connect to. A single node opens no such connections.",
	"ssl.key.password":                                    "The password of the private key in the key store.",
	"ssl.keystore.certificate.chain":                      "The certificate and those that signed it, PEM.",
	"ssl.keystore.key":                                    "The private key, PEM (PKCS#8).",
	"ssl.keystore.location":                               "The file of the key store. It is read again when it changes.",
	"ssl.keystore.password":                               "The password of the key store.",
	"ssl.keystore.type":                                   "The type of the key store: JKS, PKCS12 or PEM. JKS and PKCS12 are told apart by the file.",
	"ssl.principal.mapping.rules":                         "How the distinguished name of a client's certificate becomes a principal: DEFAULT or RULE:pattern/replacement/[LU], the first that fits.",
	"ssl.protocol":                                        "The newest version of TLS, TLSv1.3 or TLSv1.2.",
	"ssl.truststore.certificates":                         "The certificates that clients' are trusted by, PEM.",
	"ssl.truststore.location":                             "The file of the trust store. It is read again when it changes.",
	"ssl.truststore.password":                             "The password of the trust store.",
	"ssl.truststore.type":                                 "The type of the trust store: JKS, PKCS12 or PEM.",
	"super.users":                                         "The principals that may do everything, as User:name, separated by semicolons.",
}

// listenerPrefix is before the properties of a single listener.
const listenerPrefix = "listener.name."

// listenerScoped says whether a property may be set for a single listener.
func listenerScoped(name string) bool {
	if strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.") {
		return true
	}
	switch name {
	case "connections.max.reauth.ms", "max.connection.creation.rate", "max.connections", "principal.builder.class":
		return true
	}
	return false
}

// IsListenerKey says whether a name is that of a property of a single listener: listener.name.NAME.[MECHANISM.]KEY.
func IsListenerKey(name string) bool {
	_, _, k := splitListenerKey(name)
	return k != nil
}

// splitListenerKey takes listener.name.NAME.[MECHANISM.]KEY apart. mechanism is in capitals, "" when the key is the whole listener's.
func splitListenerKey(full string) (listener, mechanism string, k *Key) {
	rest, ok := strings.CutPrefix(full, listenerPrefix)
	if !ok {
		return "", "", nil
	}
	listener, rest, ok = strings.Cut(rest, ".")
	if !ok || listener == "" {
		return "", "", nil
	}
	if k = BrokerKeys.Key(rest); k == nil {
		var base string
		mechanism, base, _ = strings.Cut(rest, ".")
		k = BrokerKeys.Key(base)
		if k != nil && !strings.HasPrefix(k.Name, "sasl.") && k.Name != "connections.max.reauth.ms" {
			k = nil
		}
	}
	if k == nil || !listenerScoped(k.Name) {
		return listener, "", nil
	}
	return strings.ToUpper(listener), strings.ToUpper(mechanism), k
}

// checkListenerKey judges a property of a single listener by itself.
func checkListenerKey(full, value string) error {
	_, mechanism, k := splitListenerKey(full)
	if _, rest, ok := strings.Cut(strings.TrimPrefix(full, listenerPrefix), "."); k == nil && ok {
		if base := BrokerKeys.Key(rest); base != nil && base.Unsupported != "" {
			return invalid(fmt.Sprintf("Unknown broker config name: %s. moldau does not support %s (%s)", full, base.Name, base.Unsupported))
		}
	}
	if k == nil {
		return invalid(fmt.Sprintf("Unknown broker config name: %s. It is no property that a single listener can have", full))
	}
	if mechanism != "" && !slices.Contains(saslMechanisms, mechanism) {
		return invalid(fmt.Sprintf("Invalid configuration %s: moldau does not support the SASL mechanism %s; it supports %s", full, mechanism, strings.Join(saslMechanisms, ", ")))
	}
	if k.Name == "sasl.jaas.config" && mechanism == "" {
		return invalid(fmt.Sprintf("Invalid configuration %s: it must name its SASL mechanism, as in %s%s.plain.sasl.jaas.config", full, listenerPrefix, strings.ToLower(strings.Split(full, ".")[2])))
	}
	_, err := k.Parse(value)
	return err
}

var saslMechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}

// ListenerValue is the value of a property for a listener and SASL mechanism ("" for none): that of the mechanism on the listener, else of
// the listener, else of the broker, else the default. ok is false when there is no value.
func (b *Broker) ListenerValue(listener, mechanism, key string) (value string, ok bool) {
	l := listenerPrefix + strings.ToLower(listener) + "."
	names := make([]string, 0, 3)
	if mechanism != "" {
		names = append(names, l+strings.ToLower(mechanism)+"."+key)
	}
	for _, n := range append(names, l+key, key) {
		if v, ok := b.secure[n]; ok {
			return v, true
		}
	}
	if k := BrokerKeys.Key(key); k != nil && k.Default != nil {
		return *k.Default, true
	}
	return "", false
}

// checkSecurity judges what security properties say together, once the listeners are known.
func (b *Broker) checkSecurity() error {
	b.secure = map[string]string{}
	for n, v := range b.Static {
		if l, mech, k := splitListenerKey(n); k != nil {
			if !slices.ContainsFunc(b.Listeners, func(e Endpoint) bool { return e.Name == l }) {
				return invalid(fmt.Sprintf("Invalid configuration %s: listeners has no listener %s", n, l))
			}
			n = listenerPrefix + strings.ToLower(l) + "."
			if mech != "" {
				n += strings.ToLower(mech) + "."
			}
			n += k.Name
		}
		b.secure[n] = v
	}
	if _, set := b.Static["sasl.jaas.config"]; set {
		return invalid("Invalid configuration sasl.jaas.config: a broker has one for each listener and mechanism, as in listener.name.sasl_ssl.plain.sasl.jaas.config")
	}
	for _, l := range b.Listeners {
		if !strings.HasPrefix(l.Protocol, "SASL_") {
			continue
		}
		v, _ := b.ListenerValue(l.Name, "", "sasl.enabled.mechanisms")
		mechs, _ := parse(List, v)
		for _, m := range mechs.List {
			if !slices.Contains(saslMechanisms, m) {
				return invalid(fmt.Sprintf("Invalid value %s for configuration sasl.enabled.mechanisms: moldau does not support the mechanism %s; listener %s needs some of %s", v, m, l.Name, strings.Join(saslMechanisms, ", ")))
			}
		}
		if len(mechs.List) == 0 {
			return invalid(fmt.Sprintf("Invalid value %s for configuration sasl.enabled.mechanisms: listener %s needs at least one mechanism", v, l.Name))
		}
		if inter, set := b.Static["sasl.mechanism.inter.broker.protocol"]; set && l.Name == b.InterBrokerListenerName && !slices.Contains(mechs.List, inter) {
			return invalid(fmt.Sprintf("requirement failed: sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker communication: %s is not in %s", inter, v))
		}
	}
	if p, set := b.Static["security.inter.broker.protocol"]; set {
		_, named := b.Static["inter.broker.listener.name"]
		if named {
			return invalid("requirement failed: Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.")
		}
		i := slices.IndexFunc(b.Listeners, func(e Endpoint) bool { return e.Protocol == p && !slices.Contains(b.ControllerListenerNames, e.Name) })
		if i < 0 {
			return invalid(fmt.Sprintf("requirement failed: security.inter.broker.protocol is %s, but no listener has that protocol", p))
		}
		b.InterBrokerListenerName = b.Listeners[i].Name
	}
	return nil
}

// authorizerClass judges authorizer.class.name.
func authorizerClass(name string, v Value) string {
	if v.Text == "" || v.Text == StandardAuthorizer {
		return ""
	}
	return refusal(name, v.Text, "moldau has one authorizer: leave it empty or set it to "+StandardAuthorizer)
}

// callbackHandler judges sasl.server.callback.handler.class.
func callbackHandler(name string, v Value) string {
	if v.Text == "" || v.Text == OAuthBearerValidator {
		return ""
	}
	return refusal(name, v.Text, "moldau cannot load classes: leave it empty, or for OAUTHBEARER set it to "+OAuthBearerValidator)
}
