package security

// ApplyPrincipalRules parses rules and applies them, for tests.
func ApplyPrincipalRules(rules, dn string) (string, error) {
	rs, err := parsePrincipalRules(rules)
	if err != nil {
		return "", err
	}
	return rs.apply(dn)
}

// DistinguishedName is distinguishedName, for tests.
var DistinguishedName = distinguishedName

// ParseKeySet is parseKeySet, for tests.
func ParseKeySet(b []byte) (int, error) {
	k, err := parseKeySet(b)
	return len(k), err
}

// DecryptPKCS8 is decryptPKCS8, for tests.
var DecryptPKCS8 = decryptPKCS8
